import type { ChatInit, ChatTransport, UIMessage, UIMessageChunk } from 'ai'
import type { ActorMap, Client, InputOf, MillraceError, Run, RunEnd, StartOptions } from '../client-sdk/index.ts'
import { type UiChunkOptions, UiChunks } from '../formats/ai-sdk-chunks.ts'
import { continuationOf, conversationOf, factsOf, type UiMessage } from '../formats/ai-sdk-messages.ts'
import { declareTools, pageOf, sendAnswers } from './run-inputs.ts'
import { readPieces } from './run-pieces.ts'

export type { MessageFacts } from '../formats/ai-sdk-chunk.ts'

/** What the AI SDK says about one request of a chat. */
export type ChatRequest = {
  /** The id of the chat. */
  readonly chatId: string
  /** Whether the last message is new, or its answer is asked for again. */
  readonly trigger: 'submit-message' | 'regenerate-message'
  /** The `body` of the request, as the page passed it. */
  readonly body: object | undefined
  /** The `metadata` of the request, as the page passed it. */
  readonly metadata: unknown
}

/** A tool that the page runs: what the model is told about it. `onToolCall` and `addToolOutput` of the chat run it. */
export type PageTool = {
  /** Tells the model what the tool does and when to use it. */
  readonly description: string
  /** JSON Schema of the arguments; its root is an object. */
  readonly parameters: { readonly [name: string]: unknown }
}

/** The options of `millraceTransport`. */
export type MillraceTransportOptions<
  Actors extends ActorMap,
  Name extends keyof Actors & string,
  Message extends UIMessage = UIMessage,
> = {
  /** The client. Its connection carries all chats; the transport never closes it. */
  client: Client<Actors>
  /** The name of the agent, or of any actor, that answers. */
  agent: Name
  /**
   * Makes the input of the agent. Default: `{ messages }`, the whole conversation as agents take it. Actors with another
   * input need this.
   */
  input?: ((messages: Message[], request: ChatRequest) => InputOf<Actors[Name]>) | undefined
  /** The tools that the page runs, by name. The agent needs `clientTools: true`. Default: none. */
  tools?: { readonly [name: string]: PageTool } | undefined
  /** Options of every run that is started. Its `meta` also gets `chat`, the id of the chat. Default: none. */
  start?: Pick<StartOptions, 'onDetach' | 'detachMs' | 'timeoutMs' | 'meta' | 'credit'> | undefined
  /**
   * What an aborted request does to its run. `cancel` stops it. `detach` lets it go on. The AI SDK aborts for `stop()`, and
   * from `@ai-sdk/react` 4.0.101 on also when a chat that the hook manages is unmounted: see `millraceChat`. Default
   * `cancel`.
   */
  onAbort?: 'cancel' | 'detach' | undefined
  /** Is called with the end of each run that this page has read or stopped, with its receipt. Default: none. */
  onEnd?: ((end: RunEnd, chat: { readonly chatId: string; readonly run: string }) => void) | undefined
  /** The major version of `ai` that reads the chunks. Default 7, which 6 reads as well unless a run is set back. */
  version?: 6 | 7 | undefined
}

/** The AI SDK aborted a request, and its own hooks cannot be told from a person. */
const WARNING =
  'millrace: the chat aborted its request: its run is cancelled. Unmounting useChat aborts, too: use millraceChat() or onAbort.'

/**
 * Makes a transport of the AI SDK over a client: `useChat({ transport: millraceTransport({ client, agent: 'chat' }) })`.
 * A chat that resumes finds its run by its id, also after a reload. The page reads at its own speed, and a page that
 * stops reading stops the run. Approvals and outputs of the page's tools continue the run that waits for them.
 *
 * A message has the id of its run, and facts of it under `metadata.millrace`: keep both where you store messages.
 */
export function millraceTransport<
  Actors extends ActorMap,
  Name extends keyof Actors & string,
  Message extends UIMessage = UIMessage,
>(options: MillraceTransportOptions<Actors, Name, Message>): ChatTransport<Message> {
  const { onAbort } = options
  return transportOf(options, (run) => {
    if (onAbort === undefined) warnOnce()
    if (onAbort === 'detach') run.detach()
    else void run.cancel()
  })
}

/** @param stop What an aborted request does to its run. */
function transportOf<Actors extends ActorMap, Name extends keyof Actors & string, Message extends UIMessage>(
  options: MillraceTransportOptions<Actors, Name, Message>,
  stop: (run: Run) => void,
): ChatTransport<Message> {
  const { client, agent, tools, onEnd, version } = options
  const input = options.input ?? ((messages) => ({ messages: conversationOf(messages) }) as never)
  /** Runs by chat whose connection was lost while they were read: they are found again even if they have ended. */
  const broken = new Map<string, string>()
  /** By chat, the number of times that a resume was asked for. */
  const resumes = new Map<string, number>()

  const declare = (run: Run, chatId: string): void => {
    if (!tools) return
    const specs = Object.entries(tools).map(([name, { description, parameters }]) => ({
      name,
      description,
      parameters,
    }))
    declareTools(run, chatId, specs)
  }

  const read = (
    run: Run,
    id: string,
    chatId: string,
    leave: () => void,
    abortSignal: AbortSignal | undefined,
    { known, refused, past }: Pick<UiChunkOptions, 'known' | 'refused' | 'past'> = {},
  ): ReadableStream<UIMessageChunk> => {
    const gen = (): number | undefined => run.position?.gen
    const format = new UiChunks({ run: id, gen, version, known, refused, past, ...(tools && { page: pageOf(chatId) }) })
    broken.delete(chatId)
    const pieces = readPieces(run, format)
    const { end } = run
    // An error of the callback is one that nobody handles, like that of an event listener.
    void end.then(
      (how) => onEnd?.(how, { chatId, run: id }),
      () => {},
    )
    return new ReadableStream(
      {
        async pull(controller) {
          try {
            const next = await pieces.next()
            for (const chunk of next ?? []) controller.enqueue(chunk)
            if (!next) controller.close()
          } catch (error) {
            // What was left on purpose is not lost.
            if (abortSignal?.aborted) {
              controller.close()
              return
            }
            broken.set(chatId, id)
            controller.error(lost(error as MillraceError))
          }
        },
        // An abort has its own listener.
        cancel: () => {
          if (!abortSignal?.aborted) leave()
        },
      },
      { highWaterMark: 0 },
    )
  }

  return {
    resumeStreamIsReplay: true,

    async sendMessages({ chatId, trigger, messages, abortSignal, body, metadata }) {
      abortSignal?.throwIfAborted()
      const last: readonly UiMessage[] = messages
      const continued = trigger === 'submit-message' ? continuationOf(last) : undefined
      if (!continued) supersede(last)
      const run: Run = continued
        ? client.attach(agent, continued.run, { after: continued.seq, gen: continued.gen ?? 1, policy: 'pace' })
        : client.start(agent, input(messages, { chatId, trigger, body, metadata }), {
            ...options.start,
            meta: { ...options.start?.meta, chat: chatId },
          })
      const leave = (): void => stop(run)
      abortSignal?.addEventListener('abort', leave, { once: true })
      declare(run, chatId)
      const { id } = await run.opened
      if (continued) await sendAnswers(run, continued.answers)
      return read(run, id, chatId, leave, abortSignal, continued)
    },

    async reconnectToStream({ chatId, abortSignal }) {
      const nth = (resumes.get(chatId) ?? 0) + 1
      resumes.set(chatId, nth)
      const listed = await client.runs()
      abortSignal?.throwIfAborted()
      const found = listed.findLast(
        ({ id, actor, meta, outcome }) =>
          actor === agent && meta?.['chat'] === chatId && (outcome === undefined || broken.get(chatId) === id),
      )
      if (!found) return null
      const run: Run = client.attach(agent, found.id, { policy: 'pace' })
      // A page that asks again at once, as React's strict mode makes it, aborts the request before: that is no stop.
      const leave = (): void => queueMicrotask(() => (resumes.get(chatId) === nth ? stop(run) : run.detach()))
      abortSignal?.addEventListener('abort', leave, { once: true })
      declare(run, chatId)
      await run.opened
      return read(run, found.id, chatId, () => run.detach(), abortSignal, { past: found.seq })
    },
  }

  /** The chat goes on without an answer to the run that waits for one. */
  function supersede(messages: readonly UiMessage[]): void {
    const asked = messages.findLast(({ role }) => role === 'assistant')
    const facts = asked && factsOf(asked)
    if (facts?.seq === undefined || facts.outcome !== undefined) return
    void client.attach(agent, facts.run, { after: 'live' }).cancel({ reason: 'superseded' })
  }
}

/** What makes a chat: `Chat` of `@ai-sdk/react`, or of another framework's package. */
export type ChatClass<Message extends UIMessage, Chat> = new (init: ChatInit<Message>) => Chat

/** The options of `millraceChat`. */
export type MillraceChatOptions<
  Actors extends ActorMap,
  Name extends keyof Actors & string,
  Message extends UIMessage = UIMessage,
> = Omit<MillraceTransportOptions<Actors, Name, Message>, 'onAbort'> & Omit<ChatInit<Message>, 'transport'>

/**
 * Makes a chat that lives outside of components: `const chat = millraceChat(Chat, { client, agent: 'chat', id })`, then
 * `useChat({ chat, resume: true })`. Unmounting a component that uses it leaves the run alone; `stop()` cancels it.
 * @param Chat The class of your framework, such as `Chat` of `@ai-sdk/react`.
 * @param options Those of `millraceTransport`, without `onAbort`, and those of the class, without `transport`.
 */
export function millraceChat<
  Actors extends ActorMap,
  Name extends keyof Actors & string,
  Chat,
  Message extends UIMessage = UIMessage,
>(Chat: ChatClass<Message, Chat>, options: MillraceChatOptions<Actors, Name, Message>): Chat {
  const transport = transportOf(options, (run) => void run.cancel())
  return new Chat({ ...(options as unknown as ChatInit<Message>), transport })
}

/** An error that the chat takes for a lost network, so that it may resume. */
function lost(error: MillraceError): Error {
  if (error.code !== 'connection_lost') return error
  return new TypeError(`network connection lost: ${error.message}`, { cause: error })
}

let hasWarned = false

function warnOnce(): void {
  if (hasWarned || (globalThis as { process?: { env: { NODE_ENV?: string } } }).process?.env.NODE_ENV === 'production')
    return
  hasWarned = true
  console.warn(WARNING)
}
