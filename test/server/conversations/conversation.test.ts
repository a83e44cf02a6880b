import { describe, expect, test } from 'vitest'
import type { ConversationSnapshot } from '../../../client-sdk/conversation.ts'
import { type Message, memoryConversations, tool } from '../../../server/index.ts'
import { type Chats, chats, hangs, isReady, shown, until } from '../../helpers/chats.ts'
import { calls, type ScriptedAnswer, says } from '../../helpers/scripted-model.ts'
import { checkConversation } from '../../helpers/strict-conversation.ts'
import { latch } from '../../helpers/test-actors.ts'

const lastAsked = ({ model }: Chats): readonly Message[] => model.asked.at(-1) ?? []

describe('a conversation', () => {
  test('keeps what the user and the model said, in order, and asks with all of it', async () => {
    await using all = await chats([says('Hello!'), says('Blue.')])
    const chat = all.open()
    await chat.send('Hi')
    await until(chat, isReady)
    await chat.send('Which colour?')
    const now = await until(chat, isReady)
    expect(shown(now)).toEqual([
      'user sent: Hi',
      'assistant sent: Hello!',
      'user sent: Which colour?',
      'assistant sent: Blue.',
    ])
    expect(now.title).toBe('Hi')
    expect(lastAsked(all)).toEqual([
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello!' },
      { role: 'user', content: 'Which colour?' },
    ])
  })

  test('shows a message at once, and stores it before the model is asked', async () => {
    const store = memoryConversations()
    const stored: number[] = []
    const model: ScriptedAnswer = async function* () {
      const kept = await store.load({ owner: 'alice', id: 'first' })
      stored.push(kept?.messages.length ?? 0)
      yield* says('ok')
    }
    await using all = await chats([model], { store })
    const chat = all.open()
    const sent = chat.send('Hi')
    expect(shown(chat.getSnapshot())).toEqual(['user sending: Hi'])
    const id = await sent
    const now = await until(chat, isReady)
    expect(now.messages[0]).toMatchObject({ id, status: 'sent', text: 'Hi' })
    expect(stored).toEqual([2])
  })

  test('is the same to two clients, live, while the answer is written', async () => {
    const more = latch()
    await using all = await chats([
      async function* () {
        yield { type: 'text', text: 'one ' }
        await more.opened
        yield* says('two')
      },
    ])
    const [one, two] = [all.open(), all.open()]
    const id = await one.send('Count')
    const half = (now: ConversationSnapshot): boolean => now.messages.at(-1)?.text === 'one '
    await Promise.all([until(one, half), until(two, half)])
    expect(two.getSnapshot().status).toBe('answering')
    more.open()
    const [a, b] = await Promise.all([until(one, isReady), until(two, isReady)])
    expect(shown(a)).toEqual(['user sent: Count', 'assistant sent: one two'])
    expect(b.messages).toEqual(a.messages)
    expect(b.messages[0]?.id).toBe(id)
  })

  test('marks a stopped answer as cancelled with its text, for every client, and the next request is valid', async () => {
    await using all = await chats([hangs('half an '), says('Fine.')])
    const [one, two] = [all.open(), all.open()]
    await one.send('Tell')
    await until(two, (now) => now.messages.at(-1)?.text === 'half an ')
    expect(await two.stop()).toMatchObject({ outcome: 'cancelled', settled: true })
    const now = await until(one, isReady)
    expect(shown(now)).toEqual(['user sent: Tell', 'assistant cancelled: half an '])
    await one.send('Go on')
    await until(one, isReady)
    expect(lastAsked(all)[1]).toEqual({ role: 'assistant', content: 'half an ' })
    checkConversation(lastAsked(all))
  })

  test('stores a stop before the first token', async () => {
    await using all = await chats([hangs()])
    const chat = all.open()
    const sent = chat.send('Tell')
    const stopped = chat.stop()
    await sent
    expect(await stopped).toMatchObject({ outcome: 'cancelled' })
    const now = await until(chat, (now) => isReady(now) && now.messages.length === 2)
    expect(shown(now)).toEqual(['user sent: Tell', 'assistant cancelled: '])
  })

  test('marks a failed answer with its text and error, and answers again beside it', async () => {
    await using all = await chats([
      () => [{ type: 'text', text: 'I was ab' }, new Error('boom')],
      says('I was about to say this.'),
    ])
    const chat = all.open()
    await chat.send('Tell')
    const failed = await until(chat, isReady)
    expect(shown(failed)).toEqual(['user sent: Tell', 'assistant failed: I was ab'])
    expect(failed.messages[1]?.error).toMatchObject({ code: 'actor_failed' })
    expect(JSON.stringify(failed.messages[1])).not.toContain('boom')
    await chat.retry()
    const again = await until(chat, (now) => isReady(now) && now.all.size === 3)
    expect(shown(again)).toEqual(['user sent: Tell', 'assistant sent: I was about to say this.'])
    expect(again.messages[1]?.versions).toEqual([failed.messages[1]?.id, again.messages[1]?.id])
    expect(lastAsked(all)).toEqual([{ role: 'user', content: 'Tell' }])
  })

  test('keeps a message that waits behind an answer that its client stops, and does not answer it', async () => {
    await using all = await chats([hangs('one two '), says('three')])
    const chat = all.open()
    await chat.send('Count')
    await until(chat, (now) => now.messages.at(-1)?.text === 'one two ')
    const sent = chat.send('And this')
    await until(chat, (now) => now.messages.at(-1)?.text === 'And this')
    await Promise.all([sent, chat.stop()])
    const now = await until(chat, (now) => isReady(now) && now.all.size === 3)
    expect(shown(now)).toEqual(['user sent: Count', 'assistant cancelled: one two ', 'user sent: And this'])
    expect(lastAsked(all)).toEqual([{ role: 'user', content: 'Count' }])
  })

  test('goes on with an answer that was cut short', async () => {
    await using all = await chats([hangs('one two '), says('three')])
    const chat = all.open()
    await chat.send('Count')
    await until(chat, (now) => now.messages.at(-1)?.text === 'one two ')
    await chat.stop()
    await chat.continue()
    const now = await until(chat, (now) => isReady(now) && now.all.size === 4)
    expect(now.messages.map(({ text, auto }) => (auto ? 'auto' : text))).toEqual(['Count', 'one two ', 'auto', 'three'])
    checkConversation(lastAsked(all))
  })

  test('keeps both versions of an edited message, and switches between them', async () => {
    await using all = await chats([says('A cat.'), says('A dog.')])
    const chat = all.open()
    const first = await chat.send('Draw a cat')
    await until(chat, isReady)
    const second = await chat.edit(first, 'Draw a dog')
    const edited = await until(chat, (now) => isReady(now) && now.all.size === 4)
    expect(shown(edited)).toEqual(['user sent: Draw a dog', 'assistant sent: A dog.'])
    expect(edited.messages[0]?.versions).toEqual([first, second])
    await chat.select(first)
    const back = await until(chat, (now) => now.messages[0]?.id === first)
    expect(shown(back)).toEqual(['user sent: Draw a cat', 'assistant sent: A cat.'])
    expect(lastAsked(all)).toEqual([{ role: 'user', content: 'Draw a dog' }])
  })

  test('branches from any message', async () => {
    await using all = await chats([says('1'), says('2'), says('other')])
    const chat = all.open()
    await chat.send('a')
    const one = await until(chat, isReady)
    await chat.send('b')
    await until(chat, (now) => isReady(now) && now.all.size === 4)
    await chat.branch(one.messages[1]!.id)
    await until(chat, (now) => now.messages.length === 2)
    await chat.send('c')
    const now = await until(chat, (now) => isReady(now) && now.all.size === 6)
    expect(now.messages.map(({ text }) => text)).toEqual(['a', '1', 'c', 'other'])
    expect(lastAsked(all).map(({ content }) => content)).toEqual(['a', '1', 'c'])
  })

  test('takes a message during an answer: it follows it, with an answer of its own', async () => {
    const more = latch()
    await using all = await chats([
      async function* () {
        yield { type: 'text', text: 'Long story' }
        await more.opened
        yield { type: 'finish', stop: 'stop' }
      },
      says('Short.'),
    ])
    const [one, two] = [all.open(), all.open()]
    await one.send('Tell')
    await until(two, (now) => now.messages.at(-1)?.text === 'Long story')
    const sent = two.send('Shorter!')
    expect(shown(two.getSnapshot()).at(-1)).toBe('user sending: Shorter!')
    more.open()
    const id = await sent
    const now = await until(one, (now) => isReady(now) && now.messages.length === 4)
    expect(shown(now)).toEqual([
      'user sent: Tell',
      'assistant sent: Long story',
      'user sent: Shorter!',
      'assistant sent: Short.',
    ])
    expect(now.messages[2]?.id).toBe(id)
    expect((await until(two, (now) => isReady(now) && now.messages.length === 4)).messages).toEqual(now.messages)
  })

  test('cuts an answer short for a message that asks for it, and keeps what was said', async () => {
    await using all = await chats([hangs('Long '), says('Short.')])
    const chat = all.open()
    await chat.send('Tell')
    await until(chat, (now) => now.messages.at(-1)?.text === 'Long ')
    await chat.send('Stop, shorter', { mode: 'now' })
    const now = await until(chat, (now) => isReady(now) && now.messages.length === 4)
    expect(shown(now)).toEqual([
      'user sent: Tell',
      'assistant sent: Long ',
      'user sent: Stop, shorter',
      'assistant sent: Short.',
    ])
    checkConversation(lastAsked(all))
  })

  test('has one answer at a time: of two first messages at once, the second goes to the answer of the first', async () => {
    await using all = await chats([says('one'), says('two')])
    const [one, two] = [all.open(), all.open()]
    await Promise.all([one.send('a'), two.send('b')])
    const now = await until(one, (now) => isReady(now) && now.messages.length === 4)
    expect(now.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant'])
    expect(new Set(now.messages.map(({ text }) => text))).toEqual(new Set(['a', 'b', 'one', 'two']))
  })

  test('keeps calls and their results, and answers calls that a stop left open', async () => {
    const look = tool({ description: 'Looks', run: () => 'sunny' })
    const wait = tool({
      description: 'Waits',
      run: (_, { signal }) =>
        new Promise((_, no) => signal.addEventListener('abort', () => no(signal.reason as Error))),
    })
    await using all = await chats(
      [calls({ call: 'c1', name: 'look', args: { at: 'Oslo' } }, { call: 'c2', name: 'wait', args: {} }), says('ok')],
      { of: { tools: { look, wait } } },
    )
    const chat = all.open()
    await chat.send('Weather?')
    const isLooked = (now: ConversationSnapshot): boolean =>
      now.messages.at(-1)?.parts.some((part) => part.type === 'call' && part.result === 'sunny') === true
    await until(chat, isLooked)
    await chat.stop()
    const now = await until(chat, isReady)
    expect(now.messages[1]?.parts).toEqual([
      { type: 'call', call: 'c1', name: 'look', args: { at: 'Oslo' }, result: 'sunny' },
      { type: 'call', call: 'c2', name: 'wait', args: {}, result: expect.stringContaining('stopped') as string },
    ])
    await chat.send('And now?')
    await until(chat, (now) => isReady(now) && now.all.size === 4)
    checkConversation(lastAsked(all))
  })

  test('shows a redacted output live and later, and gives the model the whole one each time', async () => {
    const look = tool({ description: 'Looks', run: () => 'NO93 8601', redact: () => 'an account' })
    await using all = await chats([calls({ call: 'c1', name: 'look', args: {} }), says('ok'), says('again')], {
      of: { tools: { look } },
    })
    const chat = all.open()
    await chat.send('Which?')
    const isResult = (now: ConversationSnapshot): boolean =>
      now.messages.some(({ parts }) => parts.some((part) => part.type === 'call' && part.result === 'an account'))
    await until(chat, (now) => isReady(now) && isResult(now))
    const other = all.open()
    const later = await until(other, (now) => isReady(now) && isResult(now))
    expect(JSON.stringify(later)).not.toContain('NO93')
    await chat.send('And now?')
    await until(chat, (now) => isReady(now) && now.all.size === 4)
    expect(lastAsked(all)).toContainEqual(expect.objectContaining({ role: 'tool', content: 'NO93 8601' }))
  })

  test('remembers an approval in its later answers, and in no other conversation', async () => {
    const ran: unknown[] = []
    const pay = tool({ description: 'Pays', needsApproval: true, run: (args) => void ran.push(args) })
    const call = calls({ call: 'c', name: 'pay', args: {} })
    await using all = await chats([call, says('paid'), call, says('paid'), call, says('paid')], {
      of: { tools: { pay } },
    })
    const chat = all.open()
    await chat.send('Pay')
    const asked = await until(chat, ({ requests }) => requests.length > 0)
    await chat.approve(asked.requests[0]!.call!, { ok: true, remember: true })
    await until(chat, isReady)
    await chat.send('Pay again')
    const again = await until(chat, (now) => isReady(now) && now.all.size === 4)
    expect(again.requests).toEqual([])
    expect(ran).toHaveLength(2)
    const other = all.open('other')
    await other.send('Pay')
    await until(other, ({ requests }) => requests.length > 0)
    await other.stop()
  })

  test('is watched by a client that was cut off, from where it was', async () => {
    await using all = await chats([says('one'), says('two')])
    const chat = all.open()
    await chat.send('a')
    await until(chat, isReady)
    chat.close()
    const other = all.open()
    await other.send('b')
    await until(other, (now) => isReady(now) && now.all.size === 4)
    const before = chat.getSnapshot()
    expect(before.all.size).toBe(2)
    const now = await until(chat, (now) => now.all.size === 4)
    expect(now.messages[0]).toBe(before.messages[0])
  })

  test('is removed for all clients, and its id begins anew', async () => {
    await using all = await chats([says('one'), says('two')])
    const [one, two] = [all.open(), all.open()]
    await one.send('a')
    await until(two, (now) => isReady(now) && now.all.size === 2)
    await one.remove()
    const seen: string[] = []
    for await (const { status } of two) seen.push(status)
    expect(seen.at(-1)).toBe('removed')
    const again = all.open()
    await again.send('b')
    const now = await until(again, (now) => isReady(now) && now.all.size === 2)
    expect(now.messages.map(({ text }) => text)).toEqual(['b', 'two'])
  })
})
