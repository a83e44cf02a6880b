import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from 'millrace/client'
import { conversation as open } from 'millrace/conversation'
import {
  agent,
  bearer,
  type ConversationStore,
  conversation,
  createServer,
  demo,
  sqliteConversations,
} from 'millrace/server'
import { sqlite } from 'millrace/server/sqlite'
import type { ConversationCommands, ConversationProcessOptions, Look } from './processes/conversation-process.ts'
import type { BenchQuestion } from './question.ts'
import { coresToPin } from './stage/machine.ts'
import { PinnedProcess } from './stage/pinned-process.ts'
import { figure, median, percentile } from './stage/statistics.ts'

const OWNER = 'alice'
const TOKEN = 'a-token-of-alice'
/** The conversation of which the others are copies, and the word that only copy `n` has. */
const TEMPLATE = { owner: OWNER, id: 'template' }
const wordOf = (n: number): string => `conversation${n}`
const copyOf = (n: number): string => `copy-${n}`
/** Conversations of one page of the list. */
const PAGE = 50
/** Conversations that are stored at the same time: the store writes what comes together at once. */
const FILLING = 25
/** Looks of each sort before those that are measured: the code is compiled in them. */
const WARM_UP = 50
/** Looks between which the progress is told. */
const AT_ONCE = 50

type Chats = { chat: ReturnType<typeof conversation> }

/** How long do lists, openings and searches take when a file has a million messages of one principal? */
export const conversations: BenchQuestion = {
  name: 'conversations',
  async ask({ counts, say, file }) {
    const { total, messages, looks } = counts({
      full: { total: 10_000, messages: 100, looks: 500 },
      quick: { total: 500, messages: 100, looks: 100 },
      smoke: { total: 10, messages: 4, looks: 3 },
    })
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
    const path = file ?? join(folder, 'millrace.db')
    const store = sqlite({ path })
    const kept = sqliteConversations(store)
    const chat = conversation({ agent: agent({ model: demo({ tokensPerSec: Infinity }) }), store: kept })
    const server = createServer({
      actors: { chat },
      authenticate: bearer({ [TOKEN]: OWNER }),
      store,
      limits: { startsPerSec: 1_000_000, startBurst: 1_000_000 },
    })
    const { url } = await server.listen(0)
    const client = createClient<Chats>(url, { token: TOKEN })
    try {
      const startedAt = performance.now()
      const has = async (n: number): Promise<boolean> =>
        (await kept.load({ owner: OWNER, id: copyOf(n) })) !== undefined
      const isFull = await has(total)
      if (isFull ? await has(total + 1) : await has(2))
        throw new Error(`${path} was filled in part, or with another number of conversations: name another file`)
      if (!isFull) {
        const texts = await converse(client, messages)
        await fill(kept, texts, total, (n) => say(`conversation ${n} of ${total}`))
      }
      const fillS = isFull ? Number.NaN : (performance.now() - startedAt) / 1_000

      const options: ConversationProcessOptions = { url, token: TOKEN, page: PAGE }
      const core = coresToPin()?.at(-1)
      await using viewer = new PinnedProcess<ConversationCommands>('conversation-process.js', core, options, 'client')
      const timed = async (what: Look, of: (n: number) => string): Promise<number[]> => {
        const warmUp = Math.min(WARM_UP, looks)
        const words = Array.from({ length: warmUp + looks }, (_, n) => of(1 + ((n * 7_919) % total)))
        const times: number[] = []
        for (let n = 0; n < words.length; n += AT_ONCE) {
          say(`${what} ${n} of ${words.length}`)
          times.push(...(await viewer.ask('look', { what, words: words.slice(n, n + AT_ONCE) })))
        }
        return times.slice(warmUp)
      }
      const measured = {
        'the first page of the list': await timed('list', wordOf),
        'a further page': await timed('page', wordOf),
        [`open one of ${messages} messages`]: await timed('open', copyOf),
        'search for a word of one conversation': await timed('search', wordOf),
      }
      await client.close()
      await server.close({ drainMs: 0 })
      const bytes = statSync(path).size
      return {
        tables: [
          {
            title: `Conversations: ${total} of one principal, ${total * messages} messages, in one SQLite file`,
            columns: ['', 'p50 ms', 'p99 ms'],
            rows: Object.entries(measured).map(([what, times]) => [
              what,
              figure(median(times)),
              figure(percentile(times, 0.99)),
            ]),
            notes: [
              `The file has ${(bytes / 1_048_576).toFixed(0)} MiB, ${figure(bytes / (total * messages))} bytes a message. ` +
                (isFull
                  ? 'It was full before.'
                  : `${figure((total * messages) / fillS)} messages were stored in a second.`),
              `${looks} times each, one after the other, over a WebSocket. The client is a process of its own.`,
            ],
          },
        ],
        summary: [],
        failures: [],
        figures: { ...measured, bytes, fillS },
      }
    } finally {
      await client.close()
      await server.close({ drainMs: 0 })
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

/** Has a conversation of so many messages, of which the others are copies. Gives the text of each, by its id. */
async function converse(client: Client<Chats>, messages: number): Promise<ReadonlyMap<string, string>> {
  const chat = open(client, TEMPLATE.id)
  chat.subscribe(() => {})
  for (let n = 0; n < messages / 2; n++) {
    await chat.send(`Question ${n}: which museums are open on a Monday in winter?`)
    for await (const { status } of chat) if (status === 'ready') break
  }
  const texts = new Map(chat.getSnapshot().messages.map(({ id, text }) => [id, text]))
  chat.close()
  return texts
}

/** Copies the template. What a store keeps of a conversation names neither its owner nor its id. */
async function fill(
  store: ConversationStore,
  texts: ReadonlyMap<string, string>,
  total: number,
  say: (n: number) => void,
): Promise<void> {
  const template = await store.load(TEMPLATE)
  if (!template) throw new Error('the template is missing')
  const copy = async (n: number): Promise<void> => {
    const copied = { ...template.conversation, id: copyOf(n), updatedAt: template.conversation.updatedAt + n }
    const messages = template.messages.map((message) => ({
      ...message,
      text: `${texts.get(message.id) ?? ''} ${wordOf(n)}`,
    }))
    if (!(await store.save(copied, messages, 0))) throw new Error(`conversation ${n} was not stored`)
  }
  for (let n = 1; n <= total; n += FILLING) {
    say(n)
    const together = Math.min(FILLING, total - n + 1)
    await Promise.all(Array.from({ length: together }, (_, more) => copy(n + more)))
  }
}
