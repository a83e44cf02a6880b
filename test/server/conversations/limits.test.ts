import { describe, expect, test } from 'vitest'
import { listConversations, searchConversations } from '../../../client-sdk/conversation.ts'
import {
  agent,
  type ConversationStore,
  conversation,
  defaultAuthorize,
  lastTurns,
  type Message,
  memoryConversations,
  summarize,
} from '../../../server/index.ts'
import { chats, hangs, isReady, storedTextOf, until } from '../../helpers/chats.ts'
import { calls, says } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'

describe('a conversation', () => {
  test('refuses a message beyond its messages or bytes, and keeps what it has', async () => {
    await using all = await chats([says('one')], { limits: { maxMessages: 3, maxBytes: 5_000 } })
    const chat = all.open()
    await chat.send('hello')
    await until(chat, isReady)
    await expect(chat.send('x'.repeat(6_000))).rejects.toMatchObject({ code: 'overloaded', retryable: false })
    await expect(chat.send('more')).rejects.toMatchObject({ code: 'overloaded', retryable: false })
    const now = chat.getSnapshot()
    expect(now.error?.message).toContain('this conversation is full')
    expect(now.messages.at(-1)).toMatchObject({ status: 'failed', text: 'more' })
    expect(now.facts?.messages).toBe(2)
  })

  test('refuses one conversation too many of a principal, and not those of another', async () => {
    await using all = await chats([says('one')], { limits: { maxConversations: 1 } })
    await all.open('one').send('a')
    await expect(all.open('two').send('a')).rejects.toMatchObject({ code: 'overloaded' })
    await all.open('one', all.client('bob')).send('a')
  })

  test('refuses a watcher too many, who learns why', async () => {
    await using all = await chats([says('one')], { limits: { maxWatchers: 1 } })
    const chat = all.open()
    await until(chat, isReady)
    const run = all.client().start('chat', { type: 'watch', conversation: 'first' })
    await expect(run.result).rejects.toMatchObject({ code: 'overloaded' })
  })

  test('of another principal is neither read, changed nor found, and whether it exists is not told', async () => {
    await using all = await chats([says('a secret')])
    await all.open().send('mine')
    const bob = all.client('bob')
    for (const id of ['first', 'unknown']) {
      const owner = 'alice'
      const input = { conversation: id, owner }
      for (const refused of [
        bob.start('chat', { type: 'watch', ...input }).result,
        bob.ask('chat', { type: 'rename', ...input, title: 'x' }),
        bob.ask('chat', { type: 'remove', ...input }),
        bob.ask('chat', { type: 'send', ...input, id: 'my-message', content: 'x' }),
      ])
        await expect(refused).rejects.toMatchObject({ code: 'forbidden' })
    }
    expect((await listConversations(bob)).conversations).toEqual([])
    expect((await searchConversations(bob, 'secret')).found).toEqual([])
  })

  test('of another principal is read with the right to observe, and changed where authorize allows it', async () => {
    await using all = await chats(
      [says('hello')],
      {},
      {
        authorize: (principal, action, target) =>
          defaultAuthorize(principal, action, target) || (target.type === 'conversation' && principal.id === 'bob'),
      },
    )
    await all.open().send('mine')
    const eve = all.open('first', all.client('eve'), { owner: 'alice' })
    expect((await until(eve, isReady)).messages[0]?.text).toBe('mine')
    await expect(eve.rename('x')).rejects.toMatchObject({ code: 'forbidden' })
    const bob = all.open('first', all.client('bob'), { owner: 'alice' })
    await bob.send('and mine')
    const now = await until(eve, ({ messages }) => messages.length === 4)
    expect(now.messages.map(({ by }) => by)).toEqual([undefined, undefined, 'bob', undefined])
  })

  test.each([
    { type: 'send', conversation: '', id: 'some-message', content: 'x' },
    { type: 'send', conversation: 'c', id: 'short', content: 'x' },
    { type: 'send', conversation: 'c', id: 'some/message', content: 'x' },
    { type: 'send', conversation: 'c', id: 'some-message', content: [] },
    { type: 'send', conversation: 'c', id: 'some-message', content: 'x', role: 'system' },
    { type: 'rename', conversation: 'c', title: 'x'.repeat(201) },
    { type: 'list', most: 1_000 },
    { type: 'list', before: 'x' },
    { type: 'search', text: '?!' },
    { type: 'drop' },
    null,
  ])('refuses the input %j', async (input) => {
    await using all = await chats([says('one')])
    await expect(all.client().ask('chat', input as never)).rejects.toMatchObject({ code: 'invalid_input' })
  })

  test('answers a message that is sent again once, and does not take its id for another message', async () => {
    await using all = await chats([says('one'), says('two')])
    const client = all.client()
    const message = { type: 'send', conversation: 'first', id: 'message-1', content: 'a' } as const
    await client.start('chat', message).result
    await client.start('chat', message).result
    expect(all.model.asked).toHaveLength(1)
    const chat = all.open()
    const { messages } = await until(chat, isReady)
    const taken = { ...message, id: messages[1]!.id }
    await expect(client.start('chat', taken).result).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(client.ask('chat', { ...message, id: 'message-2', parent: 'unknown' })).rejects.toMatchObject({
      code: 'not_found',
    })
  })

  test('lets clients choose only the models that it allows, in both spellings', async () => {
    const other = {
      ...(await import('../../helpers/scripted-model.ts')).scriptedModel(says('other')),
      id: 'demo:other',
    }
    await using all = await chats([says('own')], { models: ['demo:other'] }, { models: [other] })
    const chat = all.open()
    await chat.send('a')
    await expect(chat.use('demo:scripted')).rejects.toMatchObject({ code: 'not_found' })
    await chat.use('@(demo:other)')
    await until(chat, isReady)
    await chat.send('b')
    const now = await until(chat, (now) => isReady(now) && now.messages.length === 4)
    expect(now.messages.map(({ model, text }) => model ?? text)).toEqual(['a', 'demo:scripted', 'b', 'demo:other'])
  })

  test('shows messages that are larger than an event whole, and calls that no event could hold shortened', async () => {
    const long = 'äöü\u{1f600}'.repeat(20_000)
    const deep = Array.from({ length: 30 }).reduce<object>((inner) => ({ inner }), {})
    const call = calls({ call: 'c', name: 'unknown', args: { deep, lone: '\ud800' } })
    await using all = await chats([call, says(long)])
    const chat = all.open()
    await chat.send('a')
    await until(chat, isReady)
    const other = all.open()
    const { messages } = await until(other, isReady)
    expect(messages[1]?.text).toBe(long)
    expect(messages[1]?.parts[0]).toMatchObject({
      type: 'call',
      name: 'unknown',
      args: expect.stringContaining('"deep"') as string,
    })
  })

  test('marks an answer as failed, with its text, when its server died', async () => {
    const kept = memoryConversations()
    let isDead = false
    const store: ConversationStore = {
      ...methodsOf(kept),
      save: (...what) => (isDead ? Promise.reject(new Error('dead')) : kept.save(...what)),
    }
    const key = { owner: 'alice', id: 'first' }
    {
      await using all = await chats([hangs('half an ')], { store })
      const chat = all.open()
      await chat.send('Tell')
      await eventually(() => chat.getSnapshot().messages.at(-1)?.text === 'half an ', 'the text')
      // It is stored within a second.
      for (let text = ''; !text.includes('half'); ) {
        text = storedTextOf((await kept.load(key))?.messages.at(-1))
        await new Promise((resolve) => setImmediate(resolve))
      }
      isDead = true
    }
    await using again = await chats([says('whole')], { store: kept })
    const chat = again.open()
    const now = await until(chat, isReady)
    expect(now.messages.at(-1)).toMatchObject({ status: 'failed', text: 'half an ', error: { code: 'interrupted' } })
    await chat.retry()
    expect((await until(chat, (now) => isReady(now) && now.all.size === 3)).messages.at(-1)?.text).toBe('whole')
  })

  test('gives the model the window that it is to have, and keeps the rest', async () => {
    await using all = await chats([says('1'), says('2'), says('3')], { window: lastTurns(2) })
    const chat = all.open()
    for (const [at, text] of ['a', 'b', 'c'].entries()) {
      await chat.send(text)
      await until(chat, (now) => isReady(now) && now.messages.length === 2 * at + 2)
    }
    expect(all.model.asked.at(-1)?.map(({ content }) => content)).toEqual(['b', '2', 'c'])
    expect(chat.getSnapshot().messages).toHaveLength(6)
  })

  test('puts a summary in place of the beginning, which all clients see', async () => {
    const summary = summarize({ above: 20, keep: 2 })
    await using all = await chats([says('a long answer'), says('they talked'), says('ok'), says('fine')], { summary })
    const [chat, other] = [all.open(), all.open()]
    await chat.send('a long question')
    await until(chat, isReady)
    await chat.send('go on')
    const now = await until(other, (now) => isReady(now) && now.messages.length === 5)
    expect(now.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'summary', 'assistant'])
    expect(now.messages[3]).toMatchObject({
      through: now.messages[0]!.id,
      text: expect.stringContaining('they talked') as string,
    })
    const asked = all.model.asked.at(-1) as readonly Message[]
    expect(asked.map(({ content }) => content)).toEqual([
      expect.stringContaining('they talked'),
      'a long answer',
      'go on',
    ])
  })

  test('answers without a summary when the policy fails, and reports that', async () => {
    const summary = (): never => {
      throw new Error('no summary')
    }
    await using all = await chats([says('ok')], { summary })
    const chat = all.open()
    await chat.send('a')
    expect((await until(chat, isReady)).messages.at(-1)?.text).toBe('ok')
    expect(all.errors).toEqual([new Error('no summary')])
  })
})

test('a conversation is made only of an agent, known options and valid limits', () => {
  const made = (options: object) => () => conversation(options as never)
  expect(made({})).toThrow('made by agent()')
  expect(made({ agent: agent({}), windo: lastTurns(1) })).toThrow('did you mean window')
  expect(made({ agent: agent({}), limits: { maxMessages: 0 } })).toThrow('limits.maxMessages')
  expect(() => lastTurns(0)).toThrow('at least 1')
})

/** A store whose methods can be replaced. */
function methodsOf(store: ConversationStore): ConversationStore {
  return {
    load: (key) => store.load(key),
    save: (...what) => store.save(...what),
    remove: (key) => store.remove(key),
    removeAll: (owner) => store.removeAll(owner),
    count: (owner) => store.count(owner),
    list: (...what) => store.list(...what),
    search: (...what) => store.search(...what),
  }
}
