/** The process of a client that looks at conversations. */
import { createClient } from 'millrace/client'
import { conversation, listConversations, searchConversations } from 'millrace/conversation'
import { answerCommands } from '../stage/commands.ts'

export type ConversationProcessOptions = { url: string; token: string; page: number }

const { url, token, page } = JSON.parse(process.argv[2]!) as ConversationProcessOptions

const client = createClient(url, { token })
/** Where the second page of the list begins, once it was asked for. */
let second: Promise<{ before: string } | Record<string, never>> | undefined

async function secondPage(): Promise<{ before: string } | Record<string, never>> {
  const { next } = await listConversations(client, { most: page })
  return next === undefined ? {} : { before: next }
}

/** What a client does, until it has all of the answer. */
const looks = {
  list: () => listConversations(client, { most: page }),
  page: async () => listConversations(client, await (second ??= secondPage())),
  async open(id: string): Promise<void> {
    const chat = conversation(client, id)
    for await (const { status } of chat) if (status === 'ready') break
    chat.close()
  },
  search: (word: string) => searchConversations(client, word),
} satisfies Record<string, (word: string) => Promise<unknown>>

export type Look = keyof typeof looks

const commands = {
  /** How long each took, in ms: one after the other, of these words. */
  async look({ what, words }: { what: Look; words: readonly string[] }): Promise<number[]> {
    const times: number[] = []
    for (const word of words) {
      const begunAt = performance.now()
      await looks[what](word)
      times.push(performance.now() - begunAt)
    }
    return times
  },
}

export type ConversationCommands = typeof commands

answerCommands(commands)
