import { describe, expect, test } from 'vitest'
import { type Conversation, type ConversationSnapshot, conversation as open } from '../../../client-sdk/conversation.ts'
import { type Client, createClient } from '../../../client-sdk/node.ts'
import type { Runtime } from '../../../protocol/runtime.ts'
import { unpackConversation, unpackMessage } from '../../../server/conversations/message-record.ts'
import { historyOf, MessageTree } from '../../../server/conversations/message-tree.ts'
import {
  agent,
  bearer,
  conversation,
  createServer,
  type Message,
  MillraceError,
  type MillraceServer,
  type Model,
  memory,
  memoryConversations,
  tool,
  validConversation,
} from '../../../server/index.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { type MortalConversations, mortalConversations } from '../../helpers/mortal-conversations.ts'
import { type MortalStore, mortal } from '../../helpers/mortal-store.ts'
import { PATIENCE_MS } from '../../helpers/patience.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { quiet } from '../../helpers/server.ts'
import { checkConversation } from '../../helpers/strict-conversation.ts'
import { refusalOf } from '../../helpers/strict-providers.ts'
import { repetitions } from '../../helpers/tier.ts'

const KEY = { owner: 'alice', id: 'c' }
const DELAYS = { quickMs: 1, backoffMs: 1, maxBackoffMs: 4 }
/** One world in so many has a store of runs. */
const ONE_DURABLE_IN = repetitions({ quick: 5, full: 2 })
/** Why a call may be refused. */
const REFUSALS = new Set([
  'overloaded',
  'not_found',
  'connection_lost',
  'interrupted',
  'draining',
  'store_unavailable',
  'cancelled',
])

const look = tool({ description: 'Looks', run: () => 'seen' })
const wait = tool({
  description: 'Waits until it is stopped',
  run: (_, { signal }) =>
    new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason as Error), { once: true })),
})
/** The tools of one world, in which calls that were approved run once. */
const toolsOf = (pay: (call: string) => void) => ({
  look,
  wait,
  pay: tool({
    description: 'Pays',
    parameters: { type: 'object' },
    needsApproval: true,
    run(_, { call }) {
      pay(call)
      return 'paid'
    },
  }),
})
const specs = Object.entries(toolsOf(() => {})).map(([name, { description, parameters }]) => ({
  name,
  description,
  parameters,
}))

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Two clients of one conversation, and everything that happens to them. */
class World {
  readonly trace: string[] = []
  readonly #random: () => number
  readonly #store = memoryConversations()
  readonly #runs = memoryStore()
  /** Whether the server has a store of runs. */
  readonly #isDurable: boolean
  #runsAlive!: MortalStore
  readonly #paid = new Set<string>()
  readonly #transport = memory()
  readonly #asked: (readonly Message[])[] = []
  readonly #calls: Promise<void>[] = []
  /** The contents of messages that were sent, by whether the client knows that they are stored. */
  readonly #sent = new Map<string, 'asked' | 'stored'>()
  readonly #unexpected: unknown[] = []
  #server!: MillraceServer<{ chat: ReturnType<typeof conversation> }>
  #alive!: MortalConversations
  #clients: Client[] = []
  #chats: Conversation[] = []
  #n = 0

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.#isDurable = seed % ONE_DURABLE_IN === 0
  }

  async run(): Promise<void> {
    await this.#start()
    this.#clients = [0, 1].map(() =>
      createClient(this.#transport.url, { WebSocket: this.#transport.WebSocket, token: 'alice', delays: DELAYS }),
    )
    this.#chats = this.#clients.map((client) => open(client, KEY.id))
    for (const chat of this.#chats) chat.subscribe(() => {})
    const steps = 6 + this.#below(8)
    for (let step = 0; step < steps; step++) {
      this.#act(this.#pick(this.#chats))
      for (let turns = this.#below(6); turns > 0; turns--) await turn()
      if (this.#below(12) === 0) await this.#restart()
      else if (this.#below(8) === 0) this.#cut()
    }
    await this.#settle()
    await this.#check()
    for (const chat of this.#chats) chat.close()
    await Promise.all(this.#clients.map((client) => client.close()))
    await this.#server.close({ drainMs: 0 })
  }

  // --- what happens

  #act(chat: Conversation): void {
    const { all, requests } = chat.getSnapshot()
    const [request] = requests
    if (request?.call !== undefined && this.#below(3) > 0) {
      const { call } = request
      this.trace.push(`${this.#chats.indexOf(chat)} approve ${call}`)
      return this.#call(chat.approve(call, this.#below(4) > 0))
    }
    const some = [...all.keys()]
    const message = some.length > 0 ? this.#pick(some) : undefined
    const what = this.#pick(['send', 'send', 'send', 'stop', 'stop', 'retry', 'edit', 'branch', 'select', 'continue'])
    this.trace.push(`${this.#chats.indexOf(chat)} ${what} ${message ?? ''} (${chat.getSnapshot().status})`)
    if (what === 'stop') this.#call(chat.stop())
    else if (what === 'send' || message === undefined) this.#send(chat, undefined)
    else if (what === 'edit') this.#send(chat, message)
    else this.#call(chat[what as 'retry' | 'branch' | 'select' | 'continue'](message))
  }

  #send(chat: Conversation, edited: string | undefined): void {
    const text = `message ${++this.#n}`
    this.#sent.set(text, 'asked')
    const mode = this.#pick(['after', 'next', 'now'] as const)
    const call = edited === undefined ? chat.send(text, { mode }) : chat.edit(edited, text)
    this.#call(call.then(() => void this.#sent.set(text, 'stored')))
  }

  #call(call: Promise<unknown>): void {
    const at = this.trace.length
    this.#calls.push(
      call.then(
        () => void this.trace.push(`  ${at} ok`),
        (error: unknown) => {
          const { code, message } = MillraceError.from(error)
          this.trace.push(`  ${at} ${code}: ${message}`)
          if (!REFUSALS.has(code) && code !== 'invalid_input') this.#unexpected.push(error)
        },
      ),
    )
  }

  #cut(): void {
    this.trace.push('cut')
    this.#transport.cut()
  }

  async #restart(): Promise<void> {
    this.trace.push('restart')
    this.#alive.die()
    this.#runsAlive.kill()
    await this.#server.close({ drainMs: 0 })
    await this.#start()
  }

  async #start(): Promise<void> {
    this.#alive = mortalConversations(this.#store)
    this.#runsAlive = mortal(this.#runs)
    const { isAlive } = this.#runsAlive
    const tools = toolsOf((call) => {
      if (!isAlive()) return
      if (this.#paid.has(call)) this.#unexpected.push(new Error(`${call} was paid twice`))
      this.#paid.add(call)
    })
    const chat = conversation({ agent: agent({ model: this.#model(), tools }), store: this.#alive })
    this.#server = createServer({
      actors: { chat },
      authenticate: bearer({ alice: 'alice' }),
      transport: this.#transport,
      logger: quiet,
      onError: () => {},
      limits: { cancelGraceMs: 50 },
      runtime: untilDead(isAlive),
      ...(this.#isDurable && { store: this.#runsAlive }),
    })
    await this.#server.listen()
  }

  #model(): Model {
    const next = (): number => this.#random()
    const asked = this.#asked
    return {
      id: 'demo:seeded',
      provider: 'demo',
      async *stream({ messages, signal }) {
        asked.push(messages)
        for (let words = Math.floor(next() * 4); words > 0; words--) {
          await turn()
          signal.throwIfAborted()
          yield { type: 'text', text: `word${words} ` }
        }
        const how = next()
        if (how < 0.1) throw new MillraceError('provider_error', 'the provider failed')
        if (how < 0.3) {
          await new Promise((_, fail) => {
            if (signal.aborted) fail(signal.reason as Error)
            signal.addEventListener('abort', () => fail(signal.reason as Error), { once: true })
          })
        }
        const calls = how < 0.5 && messages.at(-1)?.role === 'user'
        if (calls)
          yield {
            type: 'tool.call',
            call: `call${asked.length}`,
            name: how < 0.35 ? 'wait' : how < 0.42 ? 'look' : 'pay',
            args: {},
          }
        if (!calls) yield { type: 'text', text: 'end' }
        yield { type: 'finish', stop: calls ? 'tool_calls' : 'stop' }
      },
    }
  }

  // --- what must hold in the end

  /** Ends every answer, and waits until both clients know it. */
  async #settle(): Promise<void> {
    this.trace.push('settle')
    let isSettled = false
    const answered = Promise.all(this.#calls).then(() => (isSettled = true))
    while (!isSettled) {
      await Promise.all(this.#chats.map((chat) => chat.stop()))
      await turn()
    }
    await answered
    for (;;) {
      await Promise.all(this.#chats.map((chat) => chat.stop()))
      const stored = await this.#store.load(KEY)
      if (!stored) return
      const { version, leaf } = unpackConversation(stored.conversation)
      const isKnown = (now: ConversationSnapshot): boolean =>
        now.status === 'ready' &&
        now.facts?.leaf === leaf &&
        now.facts?.run === undefined &&
        [...now.all.values()].every((one) => one.status !== 'streaming')
      const isAllKnown = this.#chats.every((chat) => isKnown(chat.getSnapshot()))
      const ids = (chat: Conversation): number =>
        [...chat.getSnapshot().all.values()].filter((one) => one.status !== 'sending' && !isUnsent(one)).length
      if (isAllKnown && this.#chats.every((chat) => ids(chat) === stored.messages.length)) {
        await turn()
        if ((await this.#store.load(KEY))?.conversation.version === version) return
      }
      await turn()
    }
  }

  async #check(): Promise<void> {
    expect(this.#unexpected).toEqual([])
    const [one, two] = this.#chats.map((chat) => treeOf(chat.getSnapshot()))
    expect(two).toEqual(one)
    const stored = await this.#store.load(KEY)
    const messages = stored?.messages.map(unpackMessage) ?? []
    const tree = new MessageTree(messages)
    expect(Object.keys(one!.all).sort()).toEqual(messages.map(({ id }) => id).sort())
    if (stored) expect(one!.leaf).toBe(unpackConversation(stored.conversation).leaf)
    for (const { parent, status } of messages) {
      if (parent !== null) expect(tree.get(parent)).toBeDefined()
      expect(status).not.toBe('streaming')
    }
    // Nothing is lost, and nothing twice.
    const texts = messages
      .filter(({ role, auto }) => role === 'user' && !auto)
      .map(({ said }) => said[0]!.content as string)
    expect(new Set(texts).size).toBe(texts.length)
    for (const [text, known] of this.#sent) if (known === 'stored') expect(texts).toContain(text)
    // Every branch can be continued with every provider, and every request could be sent.
    const parents = new Set(messages.map(({ parent }) => parent))
    for (const { id } of messages.filter((message) => !parents.has(message.id))) {
      const said = historyOf(tree.pathTo(id)).flatMap((entry) => entry.said)
      acceptable(validConversation([...said, { role: 'user', content: 'and now?' }]))
    }
    for (const asked of this.#asked) acceptable(asked)
  }

  #below(most: number): number {
    return Math.floor(this.#random() * most)
  }

  #pick<T>(all: readonly T[]): T {
    return all[this.#below(all.length)]!
  }
}

/** The time of a process, which flies once it is dead: its store will never have the ends that it waits for. */
function untilDead(isAlive: () => boolean): Runtime {
  let diedAt: number | undefined
  const now = (): number => {
    const time = nodeRuntime.now()
    if (isAlive()) return time
    diedAt ??= time
    return diedAt + (time - diedAt) * 1_000
  }
  const setTimer: Runtime['setTimer'] = (ms, callback) => nodeRuntime.setTimer(isAlive() ? ms : ms / 1_000, callback)
  return { ...nodeRuntime, now, setTimer }
}

function acceptable(messages: readonly Message[]): void {
  checkConversation(messages)
  expect(refusalOf(messages, specs)).toBeUndefined()
}

function isUnsent({ role, status, run }: { role: string; status: string; run?: string | undefined }): boolean {
  return role === 'user' && status === 'failed' && run === undefined
}

/** What a client shows of what the server has. */
function treeOf({ all, facts }: ConversationSnapshot): { all: object; leaf: string | null } {
  const known = [...all.values()].filter((message) => !isUnsent(message))
  return {
    all: Object.fromEntries(
      known.map(({ id, parent, role, status, parts, error }) => [id, { parent, role, status, parts, error }]),
    ),
    leaf: facts?.leaf ?? null,
  }
}

describe('a conversation of two clients that send, stop, retry, edit, branch, lose the connection and the server', () => {
  const count = repetitions({ quick: 60, full: 2_000 })
  const only = process.env['MILLRACE_SEED']
  const seeds = only ? [Number(only)] : Array.from({ length: count }, (_, at) => at + 1)

  test(`is the same tree to both, without a message lost or doubled, and every branch can go on (${seeds.length} seeds)`, async () => {
    for (const seed of seeds) {
      const world = new World(seed)
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, fail) => {
        timer = setTimeout(() => fail(new Error('it never comes to rest')), PATIENCE_MS)
      })
      try {
        await Promise.race([world.run(), late])
      } catch (error) {
        throw new Error(`seed ${seed} (MILLRACE_SEED=${seed}): ${String(error)}\n${world.trace.join('\n')}`, {
          cause: error,
        })
      } finally {
        clearTimeout(timer)
      }
    }
  }, 600_000)
})
