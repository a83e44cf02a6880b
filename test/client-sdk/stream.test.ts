import { describe, expect, test } from 'vitest'
import { EVENT } from '../../protocol/events.ts'
import { readAll } from '../helpers/read-all.ts'
import { cut, openRun, shortly, take } from '../helpers/scripted-run.ts'
import { done, event, failed, gap, opened, ScriptedServer, text } from '../helpers/scripted-server.ts'

describe('opening a stream', () => {
  test('sends HELLO and the START that waits for it in one message, without waiting for WELCOME', async () => {
    const server = new ScriptedServer()
    const run = server.client({ token: 'secret', name: 'tab' }).start('chat', { prompt: 'hi' })
    server.socket.open()
    expect(server.socket.messages).toMatchObject([
      [
        { kind: 'hello', auth: 'secret', attempt: 1, name: 'tab' },
        {
          kind: 'start',
          sid: 1,
          actor: 'chat',
          input: { prompt: 'hi' },
          options: { credit: 256, policy: 'pace', ts: true },
        },
      ],
    ])
    expect(run.id).toBeUndefined()
    server.socket.say(opened(1, { run: 'r_9', gen: 3 }))
    expect(await run.opened).toEqual({ id: 'r_9', gen: 3 })
    expect(run.id).toBe('r_9')
    expect(run.position).toEqual({ run: 'r_9', gen: 3, seq: 0 })
  })

  test('sends a START that was not answered again, with the same key and unchanged', async () => {
    const server = new ScriptedServer()
    const input = { prompt: 'first' }
    server.client().start('chat', input)
    input.prompt = 'second'
    server.socket.welcome()
    const first = server.socket.last('start')
    const again = (await cut(server)).last('start')
    expect(again.options.key).toEqual(first.options.key)
    expect(again.input).toEqual({ prompt: 'first' })
  })

  test('always gives a START a key, also where the application gives none', async () => {
    const server = new ScriptedServer()
    server.client().start('chat', {}, { key: undefined as never })
    server.socket.welcome()
    expect(server.socket.last('start').options.key).toHaveLength(16)
  })

  test('does not send a START again once its key may be forgotten', async () => {
    const server = new ScriptedServer()
    const run = server.client({ connectMs: 1e9 }).start('chat', {})
    server.socket.welcome({ endedMs: 10_000 })
    await server.time.advance(5_001)
    const socket = await cut(server)
    expect(socket.all('start')).toEqual([])
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost' })
  })

  test('takes a smaller window when the server accepts less credit', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {}, { credit: 3_000 })
    server.socket.welcome()
    server.socket.say(opened(1, { credit: 4 }), text(1, 1, ['a', 'b', 'c', 'd']))
    await take(run[Symbol.asyncIterator](), 2)
    await server.settle()
    expect(server.socket.last('credit').n).toBe(2)
    expect((await cut(server)).last('attach').options.credit).toBe(2)
  })

  test('begins a live view where OPENED says, with the open lanes and the pending requests', async () => {
    const server = new ScriptedServer()
    const view = server.client().attach('chat', 'r_1', { after: 'live' })
    server.socket.welcome()
    expect(server.socket.last('attach')).toMatchObject({ after: null, run: 'r_1', options: { policy: 'log' } })
    const lanes: [number, object][] = [[2, { lane: 2, type: 'thinking', agent: 'a1' }]]
    const pending = [{ request: 'q1', kind: 'confirm', prompt: 'sure?' }]
    server.socket.say(
      opened(1, { next: 41, gen: 2, lanes: lanes as never, pending }),
      text(1, 41, 'hm', 2),
      text(1, 42, 'x'),
    )
    expect(await take(view[Symbol.asyncIterator](), 3)).toMatchObject([
      { type: 'request', id: 'q1', kind: 'confirm', prompt: 'sure?', seq: 40 },
      { type: 'thinking', text: 'hm', agent: 'a1', seq: 41, at: 1_000 },
      { type: 'token', text: 'x', seq: 42 },
    ])
    expect(view.position).toEqual({ run: 'r_1', gen: 2, seq: 42 })
  })

  test('leaves a view at its position: OPENED does not move it, the GAP that follows does', async () => {
    const server = new ScriptedServer()
    const view = server.client().attach('chat', 'r_1', { after: 10, gen: 2 })
    server.socket.welcome()
    expect(server.socket.last('attach')).toMatchObject({ after: 10, options: { gen: 2 } })
    server.socket.say(
      opened(1, { next: 21, gen: 3 }),
      gap(1, 11, 21, { reason: 'retention', gen: 3 }),
      text(1, 21, 'x'),
    )
    expect(shortly(await take(view[Symbol.asyncIterator](), 2))).toEqual(['retention 11..20', '21 x'])
    expect(view.position).toEqual({ run: 'r_1', gen: 3, seq: 21 })
  })

  test('ends the run with the refusal of its START, and does not try again', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {})
    server.socket.welcome()
    server.socket.say(failed(1, 0, 'overloaded', true))
    await expect(run.result).rejects.toMatchObject({ code: 'overloaded', retryable: true })
    await expect(run.opened).rejects.toMatchObject({ code: 'overloaded' })
    expect(await run.end).toMatchObject({ outcome: 'error', seq: 0 })
    await server.time.advance(9_000)
    expect(server.socket.all('start')).toHaveLength(1)
  })
})

describe('items', () => {
  test('arrive once and in order, however they are batched', async () => {
    const { run, socket } = await openRun()
    socket.say(
      text(1, 1, 'a'),
      text(1, 2, ['b', 'c']),
      event(1, 4, EVENT.progress, { current: 1 }),
      text(1, 5, 'd'),
      done(1, 6),
    )
    expect(shortly(await readAll(run))).toEqual(['1 a', '2 b', '3 c', '4 progress', '5 d'])
  })

  test('that came before are dropped, and their cost goes back', async () => {
    const { run, socket, server } = await openRun({ credit: 8 })
    socket.say(text(1, 1, ['a', 'b']), event(1, 3, 'own', {}, 2))
    socket.say(text(1, 1, ['a', 'b']), event(1, 3, 'own', {}, 2), text(1, 2, ['b', '!', 'c', 'd']))
    await server.settle()
    // Two texts, an event of 2 and one text of a list, unread as all the others are; '!' stands for the event.
    expect(socket.all('credit').map(({ n }) => n)).toEqual([4])
    expect(shortly(await take(run[Symbol.asyncIterator](), 5))).toEqual(['1 a', '2 b', '3 data', '4 c', '5 d'])
  })

  test('that do not follow each other close the socket with 4420, and the stream resumes behind the last one', async () => {
    const { run, socket, server } = await openRun()
    socket.say(text(1, 1, 'a'), text(1, 3, 'c'), text(1, 2, 'b'))
    expect(socket.closeCode).toBe(4420)
    const next = await server.reconnected()
    expect(next.last('attach')).toMatchObject({ after: 1, run: 'r_1' })
    next.say(opened(1, { next: 2 }), text(1, 2, ['b', 'c']), done(1, 4))
    expect(shortly(await readAll(run))).toEqual(['1 a', '2 b', '3 c'])
  })

  test('that do not follow each other a second time end the run with an internal error', async () => {
    const { run, socket, server } = await openRun()
    socket.say(text(1, 2, 'b'))
    const next = await server.reconnected()
    next.say(opened(1), text(1, 2, 'b'))
    await expect(run.result).rejects.toMatchObject({ code: 'internal' })
    await server.settle()
    expect(next.said()).toEqual(['attach', 'detach'])
    expect(next.closeCode).toBeUndefined()
  })

  test('of merged text count for as many as they hold, also in credit', async () => {
    const { run, socket, server } = await openRun({ credit: 8 })
    socket.say({ kind: 'delta', sid: 1, seq: 1, lane: 0, body: 'abcd', count: 4 }, text(1, 5, 'e'))
    const [first, second] = await take(run[Symbol.asyncIterator](), 2)
    expect([first?.seq, second?.seq]).toEqual([4, 5])
    await server.settle()
    expect(socket.last('credit').n).toBe(4)
  })

  test('of a lane take its type and agent, and its start and end are hidden but numbered and paid', async () => {
    const { run, socket, server } = await openRun({ credit: 8 })
    socket.say(
      event(1, 1, EVENT.laneStart, { lane: 1, type: 'tool_args', call: 'c1', name: 'weather' }),
      text(1, 2, '{"ci', 1),
      event(1, 3, EVENT.laneEnd, { lane: 1 }),
      event(1, 4, EVENT.toolCall, { call: 'c1', name: 'weather', args: { city: 'Oslo' } }),
    )
    expect(await take(run[Symbol.asyncIterator](), 2)).toEqual([
      { type: 'tool.args', call: 'c1', name: 'weather', text: '{"ci', seq: 2, at: 1_000 },
      { type: 'tool.call', call: 'c1', name: 'weather', args: { city: 'Oslo' }, seq: 4, at: 1_000 },
    ])
    await server.settle()
    expect(socket.last('credit').n).toBe(4)
  })
})

describe('credit', () => {
  test('goes back when half the window was read, and exactly what was read', async () => {
    const { run, socket, server } = await openRun({ credit: 6 })
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c', 'd', 'e', 'f']))
    await take(iterator, 2)
    await server.settle()
    expect(socket.all('credit')).toEqual([])
    await take(iterator, 1)
    await server.settle()
    expect(socket.all('credit')).toEqual([{ kind: 'credit', sid: 1, n: 3 }])
  })

  test('that became due while the stream was opening again goes back with OPENED', async () => {
    const { run, socket, server } = await openRun({ credit: 8 })
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c', 'd', 'e', 'f', 'g']))
    await server.settle()
    socket.end()
    const next = await server.reconnected()
    expect(next.last('attach').options.credit).toBe(1)
    await take(iterator, 3)
    await server.settle()
    expect(next.all('credit')).toEqual([])
    // The server takes less than the window: what is owed is more than half of it now.
    next.say(opened(1, { next: 8, credit: 0 }))
    await server.settle()
    expect(next.all('credit')).toEqual([])
    await take(iterator, 1)
    await server.settle()
    expect(next.last('credit').n).toBe(4)
  })

  test('of an overdrawn window is taken off the next grants', async () => {
    const { run, socket, server } = await openRun({ credit: 2 })
    const iterator = run[Symbol.asyncIterator]()
    socket.say(event(1, 1, 'big', {}, 5))
    socket.end()
    const next = await server.reconnected()
    expect(next.last('attach').options.credit).toBe(0)
    next.say(opened(1, { next: 2, credit: 0 }))
    await take(iterator, 1)
    await server.settle()
    expect(next.last('credit').n).toBe(2)
  })

  test('of items that became void goes back at once', async () => {
    const { socket, server } = await openRun({ credit: 6 })
    socket.say(text(1, 1, ['a', 'b', 'c', 'd']), gap(1, 2, 2, { gen: 2 }))
    await server.settle()
    expect(socket.last('credit').n).toBe(3)
  })
})

describe('a GAP', () => {
  test('reports the missing items', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), gap(1, 2, 8, { reason: 'policy' }), text(1, 8, 'h'), done(1, 9))
    expect(shortly(await readAll(run))).toEqual(['1 a', 'policy 2..7', '8 h'])
  })

  test('silently removes unread items that it replaces', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, ['a', 'b', 'c']), gap(1, 2, 2, { gen: 2 }), text(1, 2, ['B', 'C']), done(1, 4))
    expect(shortly(await readAll(run))).toEqual(['1 a', '2 B', '3 C'])
    expect(run.position).toEqual({ run: 'r_1', gen: 2, seq: 3 })
  })

  test('says which read items are void', async () => {
    const { run, socket } = await openRun()
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c']))
    await take(iterator, 3)
    socket.say(gap(1, 2, 2, { gen: 2 }), text(1, 2, ['B']), done(1, 3))
    expect(shortly(await take(iterator, 2))).toEqual(['rewound 2..1', '2 B'])
    expect(await iterator.next()).toMatchObject({ done: true })
    expect(await run.result).toBe('aB')
  })

  test('shortens one that is still unread', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), gap(1, 2, 9, { reason: 'retention' }), text(1, 9, 'i'))
    socket.say(gap(1, 5, 5, { gen: 2 }), text(1, 5, 'E'))
    expect(shortly(await take(run[Symbol.asyncIterator](), 3))).toEqual(['1 a', 'rewound 2..4', '5 E'])
  })

  test('that cuts merged text reports the part that is void', async () => {
    const { run, socket } = await openRun()
    socket.say(
      { kind: 'delta', sid: 1, seq: 1, lane: 0, body: 'abcd', count: 4 },
      gap(1, 3, 3, { gen: 2 }),
      text(1, 3, 'C'),
    )
    expect(shortly(await take(run[Symbol.asyncIterator](), 2))).toEqual(['rewound 1..2', '3 C'])
  })

  test('closes the lanes that it does not list: further text on them is plain', async () => {
    const { run, socket } = await openRun()
    const lanes = [[2, { lane: 2, type: 'thinking', agent: 'a1' }]]
    socket.say(
      event(1, 1, EVENT.laneStart, { lane: 1, type: 'thinking' }),
      text(1, 2, 'a', 1),
      gap(1, 3, 8, { reason: 'retention', lanes }),
      text(1, 8, 'b', 1),
      text(1, 9, 'c', 2),
    )
    expect(await take(run[Symbol.asyncIterator](), 4)).toEqual([
      { type: 'thinking', text: 'a', seq: 2, at: 1_000 },
      expect.objectContaining({ type: 'gap', from: 3, next: 8 }),
      { type: 'token', text: 'b', seq: 8, at: 1_000 },
      { type: 'thinking', text: 'c', agent: 'a1', seq: 9, at: 1_000 },
    ])
  })

  test('without missing items only says that a new life begins', async () => {
    const { run, socket, server } = await openRun()
    socket.say(text(1, 1, 'a'), gap(1, 2, 2, { gen: 2 }), text(1, 2, 'b'))
    expect(shortly(await take(run[Symbol.asyncIterator](), 2))).toEqual(['1 a', '2 b'])
    await cut(server)
    expect(server.socket.last('attach')).toMatchObject({ after: 2, options: { gen: 2 } })
  })
})

describe('resuming', () => {
  test('asks for the items behind the last one that came, read or not, with the credit that is free', async () => {
    const { run, socket, server } = await openRun({ credit: 10 })
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c', 'd']))
    await take(iterator, 1)
    run.throttle(20)
    const next = await cut(server)
    expect(next.messages[0]).toMatchObject([
      { kind: 'hello', attempt: 2 },
      {
        kind: 'attach',
        sid: 1,
        run: 'r_1',
        after: 4,
        options: { gen: 1, policy: 'pace', rate: 20, ts: true, credit: 7 },
      },
    ])
    next.say(opened(1, { next: 5 }), text(1, 5, 'e'), done(1, 6))
    expect(shortly(await take(iterator, 4))).toEqual(['2 b', '3 c', '4 d', '5 e'])
    expect((await iterator.next()).done).toBe(true)
  })

  test('takes over the lanes that OPENED lists, and no others', async () => {
    const { run, socket, server } = await openRun()
    socket.say(event(1, 1, EVENT.laneStart, { lane: 1, type: 'thinking' }), text(1, 2, 'a', 1))
    const next = await cut(server)
    const lanes = [[2, { lane: 2, type: 'thinking' }]]
    next.say(opened(1, { next: 3, lanes: lanes as never }), text(1, 3, 'b', 1), text(1, 4, 'c', 2))
    const events = await take(run[Symbol.asyncIterator](), 3)
    expect(events.map(({ type }) => type)).toEqual(['thinking', 'token', 'thinking'])
  })

  test('is tried again on the same connection when the server refuses it for now', async () => {
    const { run, server } = await openRun()
    const socket = await cut(server)
    socket.say(failed(1, 0, 'rate_limited', true))
    expect(socket.all('attach')).toHaveLength(1)
    await server.time.advance(1_000)
    expect(socket.all('attach').map(({ sid }) => sid)).toEqual([1, 2])
    socket.say(failed(2, 0, 'overloaded', true))
    await server.time.advance(2_000)
    socket.say(opened(3), text(3, 1, 'a'), done(3, 2))
    expect(await run.result).toBe('a')
    expect(server.sockets).toHaveLength(2)
  })

  test('ends a view that was never opened with its refusal, also when an earlier ATTACH was lost without an answer', async () => {
    const server = new ScriptedServer()
    const view = server.client().attach('chat', 'r_1')
    server.socket.welcome()
    const socket = await cut(server)
    socket.say(failed(1, 0, 'overloaded', true))
    await expect(view.result).rejects.toMatchObject({ code: 'overloaded' })
    await server.time.advance(60_000)
    expect(socket.all('attach')).toHaveLength(1)
  })

  test('tries a START that was lost without an answer again when it is refused, because its run may go on', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {})
    server.socket.welcome()
    const socket = await cut(server)
    socket.say(failed(1, 0, 'rate_limited', true))
    await server.time.advance(1_000)
    expect(socket.all('start').map(({ sid }) => sid)).toEqual([1, 2])
    socket.say(opened(2), text(2, 1, 'a'), done(2, 2))
    expect(await run.result).toBe('a')
  })

  test('is asked for once on the next connection when it was refused and the connection lost', async () => {
    const { server } = await openRun()
    const socket = await cut(server)
    socket.say(failed(1, 0, 'rate_limited', true))
    const next = await cut(server)
    await server.time.advance(60_000)
    expect(next.all('attach')).toHaveLength(1)
  })

  test('ends a run that is gone with the reason of the server', async () => {
    const { run, server } = await openRun()
    const socket = await cut(server)
    socket.say(failed(1, 0, 'not_found'))
    await expect(run.result).rejects.toMatchObject({ code: 'not_found' })
  })

  test('ends an unsubscribed view with the reason, and its run goes on', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), {
      kind: 'end',
      sid: 1,
      seq: 2,
      outcome: 'unsubscribed',
      data: { code: 'unavailable', message: 'forgotten' },
    })
    await expect(readAll(run)).rejects.toMatchObject({ code: 'unavailable', message: 'forgotten', retryable: true })
    await expect(run.end).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('keeps a run for as long as the server keeps it, then gives it up', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    await server.time.advance(299_000)
    const reading = readAll(run)
    let isOver = false
    void reading.catch(() => (isOver = true))
    await server.settle()
    expect(isOver).toBe(false)
    await server.time.advance(20_000)
    await expect(reading).rejects.toMatchObject({ code: 'connection_lost', retryable: true })
  })
})

describe('an input', () => {
  test('resolves with the answer of the run', async () => {
    const { run, socket, server } = await openRun()
    const taken = run.send('message', 'shorter')
    await server.settle()
    const { mid } = socket.last('input')
    expect(socket.last('input')).toMatchObject({ sid: 1, type: 'message', data: 'shorter' })
    socket.say({ kind: 'input_ack', sid: 1, mid, status: 'accepted' })
    expect(await taken).toBe('accepted')
  })

  test.each([
    ['unwanted', 'not_found'],
    ['invalid', 'invalid_input'],
    ['busy', 'overloaded'],
  ] as const)('that is %s rejects with %s', async (status, code) => {
    const { run, socket, server } = await openRun()
    const taken = run.send('answer', { request: 'q1', value: true })
    await server.settle()
    socket.say({ kind: 'input_ack', sid: 1, mid: socket.last('input').mid, status, note: 'why' })
    await expect(taken).rejects.toMatchObject({ code, message: 'why' })
  })

  test('of an observer rejects as forbidden', async () => {
    const { run, socket, server } = await openRun()
    const taken = run.send('message', 'hi')
    await server.settle()
    const ref = { tag: 0x06, sid: 1, detail: socket.last('input').mid }
    socket.say({ kind: 'notice', code: 'forbidden', message: 'not yours', ref })
    await expect(taken).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('that was not acknowledged is sent again under its id, and one that was is not', async () => {
    const { run, socket, server } = await openRun()
    const first = run.send('message', 1)
    const second = run.send('message', 2)
    await server.settle()
    const [one, two] = socket.all('input')
    socket.say({ kind: 'input_ack', sid: 1, mid: one!.mid, status: 'accepted' })
    await first
    const next = await cut(server)
    expect(next.all('input')).toEqual([{ ...two, sid: 1 }])
    next.say({ kind: 'input_ack', sid: 1, mid: two!.mid, status: 'duplicate' })
    expect(await second).toBe('duplicate')
  })

  test('that is sent while the connection is lost goes with the ATTACH that comes back', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    void run.send('message', 'hi')
    const next = await server.reconnected()
    expect(next.messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'attach', 'input'])
  })

  test('whose stream ends unacknowledged is reported as unknown', async () => {
    const { run, socket, server } = await openRun()
    const taken = run.send('message', 'hi')
    await server.settle()
    socket.say(done(1, 1))
    await expect(taken).rejects.toMatchObject({ code: 'connection_lost' })
    await expect(run.send('message', 'late')).rejects.toMatchObject({ code: 'connection_lost' })
  })

  test('that cannot travel rejects, and nothing is sent', async () => {
    const { run, socket, server } = await openRun()
    await expect(run.send('message', () => 1)).rejects.toMatchObject({ code: 'bad_request' })
    await server.settle()
    expect(socket.said()).toEqual([])
  })
})

describe('leaving', () => {
  test('the loop of a run that was started cancels it and does not wait', async () => {
    const { run, socket, server } = await openRun()
    socket.say(text(1, 1, ['a', 'b']))
    for await (const each of run.text()) {
      expect(each).toBe('a')
      break
    }
    await server.settle()
    expect(socket.said()).toEqual(['cancel'])
  })

  test('the loop of a view detaches it', async () => {
    const server = new ScriptedServer()
    const view = server.client().attach('chat', 'r_1')
    server.socket.welcome()
    server.socket.say(opened(1), text(1, 1, ['a', 'b']))
    for await (const each of view) {
      expect(each.seq).toBe(1)
      break
    }
    await server.settle()
    expect(server.socket.said()).toEqual(['attach', 'detach'])
    await expect(view.end).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('a run by detach ends the loop quietly and keeps it for later', async () => {
    const { run, socket, server } = await openRun()
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b']))
    await take(iterator, 1)
    const position = run.position
    run.detach()
    expect(await iterator.next()).toMatchObject({ done: true })
    await server.settle()
    expect(socket.said()).toEqual(['detach'])
    expect(position).toEqual({ run: 'r_1', gen: 1, seq: 1 })
    socket.say(text(1, 3, 'late'))
    expect(socket.closeCode).toBeUndefined()
  })

  test('a run by detach while it is lost sends nothing when the connection comes back', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    run.detach()
    const next = await server.reconnected()
    expect(next.messages.flat().map(({ kind }) => kind)).toEqual(['hello'])
  })
})

describe('pausing', () => {
  test('sends rate 0, and resuming sends the rate before', async () => {
    const { run, socket, server } = await openRun({ rate: 30 })
    run.pause()
    run.resume()
    run.throttle(5)
    run.pause()
    run.resume()
    run.throttle(null)
    await server.settle()
    expect(socket.all('rate').map(({ perSec }) => perSec)).toEqual([0, 30, 5, 0, 5, null])
  })

  test('while the connection is lost is part of the ATTACH that comes back', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    run.pause()
    expect((await server.reconnected()).last('attach').options.rate).toBe(0)
  })

  test('with a rate of half an item a second is refused at the call', async () => {
    const { run, socket, server } = await openRun()
    expect(() => run.throttle(0.5)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    await server.settle()
    expect(socket.said()).toEqual([])
  })
})
