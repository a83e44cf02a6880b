import { describe, expect, test } from 'vitest'
import { type Conversation, type ConversationSnapshot, conversation as open } from '../../../client-sdk/conversation.ts'
import { type Client, createClient } from '../../../client-sdk/node.ts'
import { unpackMessage } from '../../../server/conversations/message-record.ts'
import {
  agent,
  bearer,
  conversation,
  createServer,
  type MillraceServer,
  memory,
  memoryConversations,
  tool,
} from '../../../server/index.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { type ChatActors, isReady, shown, until } from '../../helpers/chats.ts'
import { type MortalConversations, mortalConversations } from '../../helpers/mortal-conversations.ts'
import { type MortalStore, mortal } from '../../helpers/mortal-store.ts'
import { calls, type ScriptedAnswer, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, quiet } from '../../helpers/server.ts'

const KEY = { owner: 'alice', id: 'first' }
const DELAYS = { quickMs: 1, backoffMs: 1, maxBackoffMs: 4 }

/** Servers with conversations, one after the other, whose clients stay; a tool of their agent pays. */
class Servers implements AsyncDisposable {
  readonly runs = memoryStore()
  readonly model: ReturnType<typeof scriptedModel>
  paid = 0
  readonly #transport = memory()
  readonly #clients: Client<ChatActors>[] = []
  readonly #kept = memoryConversations()
  readonly #isForgetful: boolean
  #conversations!: MortalConversations
  #store!: MortalStore
  #server!: MillraceServer<ChatActors>

  private constructor(answers: ScriptedAnswer[], isForgetful: boolean) {
    this.model = scriptedModel(...answers)
    this.#isForgetful = isForgetful
  }

  /** @param isForgetful whether conversations end with their process. */
  static async begin(answers: ScriptedAnswer[], { isForgetful = false } = {}): Promise<Servers> {
    const servers = new Servers(answers, isForgetful)
    await servers.#begin()
    return servers
  }

  async #begin(): Promise<void> {
    const pay = tool({
      description: 'Pays',
      parameters: { type: 'object' },
      needsApproval: true,
      run: () => {
        this.paid++
        return 'paid'
      },
    })
    this.#store = mortal(this.runs)
    this.#conversations = mortalConversations(this.#isForgetful ? memoryConversations() : this.#kept)
    const chat = conversation({ agent: agent({ model: this.model, tools: { pay } }), store: this.#conversations })
    this.#server = createServer({
      actors: { chat },
      authenticate: bearer({ alice: 'alice' }),
      transport: this.#transport,
      store: this.#store,
      logger: quiet,
    })
    await this.#server.listen()
  }

  /** The process dies, or goes away in order, and another one begins. */
  async restart(how: 'killed' | 'closed'): Promise<void> {
    if (how === 'killed') {
      this.#store.kill()
      this.#conversations.die()
    }
    await this.#server.close({ drainMs: how === 'killed' ? 0 : 200 })
    await this.#begin()
  }

  client(): Client<ChatActors> {
    const { url, WebSocket } = this.#transport
    const client = createClient<ChatActors>(url, { WebSocket, token: 'alice', delays: DELAYS })
    this.#clients.push(client)
    return client
  }

  chat(client = this.client()): Conversation {
    const chat = open(client, KEY.id)
    chat.subscribe(() => {})
    return chat
  }

  /** Waits until the run of the answer is stored as one that waits. */
  async parked(chat: Conversation): Promise<string> {
    const { facts } = await until(chat, ({ requests, facts }) => requests.length > 0 && facts?.run !== undefined)
    const run = facts?.run ?? ''
    let isParked = false
    await eventually(() => {
      void this.runs.find(run).then((stored) => (isParked = stored?.parked !== undefined))
      return isParked
    }, 'the answer is parked')
    return run
  }

  async stored(): Promise<string[]> {
    const stored = await this.#conversations.load(KEY)
    return (stored?.messages ?? []).map(unpackMessage).map(({ role, status }) => `${role} ${status}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
    await this.#server.close({ drainMs: 0 })
  }
}

const wantsToPay = calls({ call: 'p1', name: 'pay', args: { euros: 5 } })
const asks = ({ requests, status }: ConversationSnapshot): boolean => status === 'answering' && requests.length === 1

describe('a conversation whose answer waits for an approval', () => {
  test.each(['killed', 'closed'] as const)(
    'waits on when its server was %s: both clients show it, one of them answers, and it is sent',
    async (how) => {
      await using servers = await Servers.begin([
        [{ type: 'text', text: 'Let me pay. ' }, ...wantsToPay],
        says('Done.'),
      ])
      const [one, other] = [servers.chat(), servers.chat()]
      await one.send('pay it')
      await servers.parked(one)
      await servers.restart(how)
      // The client that was there, the other one, and a page that was opened after the restart.
      for (const chat of [one, other, servers.chat()]) {
        const now = await until(chat, asks)
        expect(now.messages.map(({ role, status }) => `${role} ${status}`)).toEqual([
          'user sent',
          'assistant streaming',
        ])
        expect(now.requests).toMatchObject([{ call: 'p1' }])
      }
      expect(await servers.stored()).toEqual(['user sent', 'assistant streaming'])
      await other.approve('p1', true)
      for (const chat of [one, other])
        expect(shown(await until(chat, isReady))).toEqual(['user sent: pay it', 'assistant sent: Let me pay. Done.'])
      expect(servers.paid).toBe(1)
      expect(servers.model.asked).toHaveLength(2)
      expect(await servers.stored()).toEqual(['user sent', 'assistant sent'])
    },
  )

  test('takes messages before and after a restart, each once, under the ids that clients gave them', async () => {
    await using servers = await Servers.begin([wantsToPay, says('Done.'), says('And that.')])
    const chat = servers.chat()
    await chat.send('pay it')
    await servers.parked(chat)
    const before = chat.send('with my card', { mode: 'next' })
    const after = chat.send('and then rest', { mode: 'after' })
    await until(chat, ({ messages }) => messages.length === 4)
    await servers.restart('killed')
    await until(chat, asks)
    const late = servers.chat()
    await until(late, asks)
    await late.approve('p1', true)
    await Promise.all([before, after])
    const now = await until(chat, (now) => isReady(now) && now.messages.at(-1)?.text === 'And that.')
    expect(now.messages.map(({ role, text }) => `${role}: ${text}`)).toEqual([
      'user: pay it',
      'assistant: ',
      'user: with my card',
      'assistant: Done.',
      'user: and then rest',
      'assistant: And that.',
    ])
    expect(now.all.size).toBe(6)
    expect(shown(await until(late, (now) => isReady(now) && now.messages.length === 6))).toEqual(shown(now))
    expect(servers.paid).toBe(1)
  })

  test('is stopped after a restart as before it: what was said is kept', async () => {
    await using servers = await Servers.begin([[{ type: 'text', text: 'Let me pay. ' }, ...wantsToPay], says('Done.')])
    const chat = servers.chat()
    await chat.send('pay it')
    await servers.parked(chat)
    await servers.restart('killed')
    await until(chat, asks)
    await chat.stop()
    expect(shown(await until(chat, isReady))).toEqual(['user sent: pay it', 'assistant cancelled: Let me pay. '])
    expect(servers.paid).toBe(0)
    expect(await servers.stored()).toEqual(['user sent', 'assistant cancelled'])
  })

  test('has failed if the conversation itself ended with the process, and its run says so', async () => {
    await using servers = await Servers.begin([wantsToPay, says('Done.')], { isForgetful: true })
    const chat = servers.chat()
    await chat.send('pay it')
    const run = await servers.parked(chat)
    await servers.restart('killed')
    await expect(servers.client().attach('chat', run, { after: 0 }).result).rejects.toMatchObject({
      code: 'interrupted',
    })
    expect(servers.paid).toBe(0)
  })

  test('and is removed takes the logs of its runs along', async () => {
    await using servers = await Servers.begin([wantsToPay, says('Done.')])
    const chat = servers.chat()
    await chat.send('pay it')
    const run = await servers.parked(chat)
    await chat.approve('p1', true)
    await until(chat, isReady)
    expect(await servers.runs.find(run)).toMatchObject({ end: { outcome: 'done' } })
    await chat.remove()
    expect(await servers.runs.find(run)).toBeUndefined()
  })
})

test('a removed conversation leaves no stored run of a message without an answer, one refused or one sent again', async () => {
  await using servers = await Servers.begin([says('Hello.')])
  const client = servers.client()
  const stored = async (): Promise<string[]> =>
    (await servers.runs.list('alice', undefined, 10)).map(({ id }) => id).toSorted()
  const hello = { type: 'send' as const, conversation: KEY.id, id: 'message-1', content: 'a secret' }
  const answered = client.start('chat', hello)
  await answered.result
  const unanswered = client.start('chat', { ...hello, id: 'message-2', answer: false })
  const again = client.start('chat', hello)
  const refused = client.start('chat', { ...hello, id: 'message-3', parent: 'nothing' })
  for (const run of [unanswered, again]) await run.result
  await expect(refused.result).rejects.toMatchObject({ code: 'not_found', message: /no such message/ })
  const ids = [answered, unanswered, again, refused].map(({ id }) => id)
  expect(await stored()).toEqual(ids.toSorted())
  await client.ask('chat', { type: 'remove', conversation: KEY.id })
  let left = await stored()
  await eventually(() => (void stored().then((runs) => (left = runs)), left.length === 0), 'none is stored')
})

test('a conversation that is removed behind a restart takes the stored runs of all its messages along', async () => {
  await using servers = await Servers.begin([says('Hello.')])
  const client = servers.client()
  const hello = { type: 'send' as const, conversation: KEY.id, id: 'message-1', content: 'a secret' }
  const runs = [client.start('chat', hello)]
  await runs[0]?.result
  runs.push(client.start('chat', { ...hello, id: 'message-2', answer: false }))
  await runs[1]?.result
  await servers.restart('killed')
  for (const { id } of runs) expect(await servers.runs.find(id ?? '')).toMatchObject({ end: { outcome: 'done' } })
  await client.ask('chat', { type: 'remove', conversation: KEY.id })
  for (const { id } of runs) expect(await servers.runs.find(id ?? '')).toBeUndefined()
})
