import { MillraceError } from 'millrace/client'
import {
  type ConversationFacts,
  type FoundMessage,
  listConversations,
  searchConversations,
} from 'millrace/conversation'
import { useEffect, useState } from 'react'
import { usePage } from './page-context.ts'

/** The conversations of an actor, or the messages that a search has found. */
export type Listed = {
  readonly conversations: readonly ConversationFacts[]
  readonly found: readonly FoundMessage[] | undefined
  readonly isLoaded: boolean
  readonly error: string | undefined
  /** Reads the next page. Undefined: there is none. */
  readonly more: (() => void) | undefined
}

const EMPTY = { conversations: [], found: undefined, isLoaded: false, error: undefined, next: undefined }
/** A search begins when nothing was typed for so long, in milliseconds. */
const REST_MS = 250

/** @param search the words that are searched for. Empty: all conversations. */
export function useConversationList(actor: string, search: string): Listed {
  const { session } = usePage()
  const [state, setState] = useState<Omit<Listed, 'more'> & { readonly next: string | undefined }>(EMPTY)
  const { client } = session
  const words = search.trim()
  const show = (next: Partial<typeof state>): void =>
    setState((before) => ({ ...before, error: undefined, isLoaded: true, ...next }))
  const fail = (thrown: unknown): void => show({ error: MillraceError.from(thrown).message })
  useEffect(() => {
    let isWanted = true
    const read = async (): Promise<void> => {
      try {
        if (words === '') {
          const { conversations, next } = await listConversations(client, { actor: actor })
          if (isWanted) show({ conversations, next, found: undefined })
        } else {
          const { found } = await searchConversations(client, words, { actor: actor })
          if (isWanted) show({ found })
        }
      } catch (thrown) {
        if (isWanted) fail(thrown)
      }
    }
    const timer = setTimeout(() => void read(), words === '' ? 0 : REST_MS)
    return () => {
      isWanted = false
      clearTimeout(timer)
    }
  }, [client, actor, words])
  const { next } = state
  const more = (): void => {
    listConversations(client, { actor: actor, before: next }).then(
      (page) => show({ conversations: [...state.conversations, ...page.conversations], next: page.next }),
      fail,
    )
  }
  return { ...state, more: next === undefined || state.found ? undefined : more }
}
