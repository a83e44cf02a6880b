import {
  type Conversation,
  type ConversationOptions,
  type ConversationSnapshot,
  conversation,
  type MessageContent,
} from '../client-sdk/conversation.ts'
import type { Client } from '../client-sdk/index.ts'
import { attend } from './attention.ts'
import { createExternalStore, type ExternalStore } from './external-store.ts'
import { drawnFrame, type NextFrame, orSecond } from './frames.ts'
import { paced } from './paced.ts'
import type { UseRunOptions } from './shown-run.ts'

/** The options of `useConversation`. */
export type UseConversationOptions<Name extends string = string> = ConversationOptions<Name> &
  Pick<UseRunOptions, 'whenHidden'>

/** The functions of a conversation that a page calls. */
type ActionName = Exclude<keyof Conversation, 'id' | 'run' | 'subscribe' | 'getSnapshot' | 'close' | symbol>

/** What a page does with a conversation: the functions of `Conversation`. They stay the same, and need no `this`. */
export type ConversationActions<Content = MessageContent> = {
  readonly [Name in ActionName]: Conversation<Content>[Name]
}

/** A conversation as `useConversation` returns it: what is known of it now, and what can be done with it. */
export type ShownConversation<Content = MessageContent> = ConversationSnapshot & ConversationActions<Content>

/**
 * @param options Those of the first rendering.
 * @param drawn Default: the frames of the page.
 */
export function createConversationStore(
  client: Client,
  id: string,
  options: UseConversationOptions,
  drawn: NextFrame = drawnFrame,
): ExternalStore<ShownConversation> & { use(options: UseConversationOptions): void } {
  const { actor, owner } = options
  const frame: NextFrame = (callback) => (options.whenHidden === 'read' ? orSecond(drawn) : drawn)(callback)
  const shown = conversation(client, id, {
    actor: actor as never,
    owner,
    read: (run) => paced(options.read?.(run) ?? run, frame),
  })
  const functions = shown as unknown as ConversationActions
  const { send, stop, retry, edit, branch, select, rename, use, remove, answer, approve } = functions
  const actions: ConversationActions = {
    ...{ send, stop, retry, continue: functions.continue, edit, branch, select },
    ...{ rename, use, remove, answer, approve },
  }
  const now = (): ShownConversation => Object.freeze({ ...shown.getSnapshot(), ...actions })

  const store = createExternalStore<ShownConversation>(now(), () => {
    let undraw: (() => void) | undefined
    let release: (() => void) | undefined
    const show = (): void => {
      undraw = undefined
      store.set(now())
    }
    const read = (mayRead: boolean): void => {
      if (!mayRead) {
        release?.()
        release = undefined
      } else release ??= shown.subscribe(() => (undraw ??= frame(show)))
    }
    read(true)
    const ignoreOthers = attend(`conversation ${JSON.stringify([actor, owner, id])}`, read)
    return () => {
      ignoreOthers()
      undraw?.()
      read(false)
    }
  })
  return {
    ...store,
    use(latest) {
      options = latest
    },
  }
}
