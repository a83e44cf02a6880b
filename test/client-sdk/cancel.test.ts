import { describe, expect, test } from 'vitest'
import { EVENT } from '../../protocol/events.ts'
import { readAll } from '../helpers/read-all.ts'
import { cut, openRun, shortly, take } from '../helpers/scripted-run.ts'
import { cancelled, done, event, failed, opened, RECEIPT, ScriptedServer, text } from '../helpers/scripted-server.ts'

describe('a cancel', () => {
  test('before START has left sends nothing, and its receipt says that nothing ran', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    client.connect()
    server.socket.welcome()
    const run = client.start('chat', {})
    expect(await run.cancel({ note: 'changed my mind' })).toMatchObject({
      outcome: 'cancelled',
      confirmed: true,
      settled: true,
      provider: 'none',
      kept: 0,
    })
    await server.settle()
    expect(server.socket.said()).toEqual([])
    expect(await run.end).toMatchObject({ outcome: 'cancelled', seq: 0 })
  })

  test('before START has left asks the server if the application gave a key, as the run may be older', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {}, { key: 'report-7' })
    const receipt = run.cancel()
    server.socket.welcome()
    expect(server.socket.said()).toEqual(['start', 'cancel'])
    server.socket.say(opened(1), done(1, 3, { ms: 1 }))
    expect(await receipt).toEqual({ outcome: 'done', confirmed: true })
  })

  test('before OPENED follows START, and later items are ignored', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {})
    const iterator = run[Symbol.asyncIterator]()
    const waiting = iterator.next()
    server.socket.welcome()
    const receipt = run.cancel({ reason: 'superseded', note: 'newer' })
    expect(await waiting).toEqual({ value: undefined, done: true })
    expect(server.socket.last('cancel')).toEqual({ kind: 'cancel', sid: 1, code: 2, note: 'newer' })
    server.socket.say(opened(1), text(1, 1, ['a', 'b', 'c']), cancelled(1, 4))
    expect(await receipt).toEqual({ outcome: 'cancelled', confirmed: true, ...RECEIPT })
    expect(await iterator.next()).toEqual({ value: undefined, done: true })
    expect(server.socket.all('credit')).toEqual([])
  })

  test('drops unread items, and gives no more credit', async () => {
    const { run, socket, server } = await openRun({ credit: 4 })
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c', 'd']))
    await take(iterator, 1)
    void run.cancel()
    expect(await iterator.next()).toMatchObject({ done: true })
    socket.say(cancelled(1, 5))
    await server.settle()
    expect(socket.said()).toEqual(['cancel'])
    await expect(run.result).rejects.toMatchObject({ code: 'cancelled', receipt: RECEIPT })
  })

  test('that crosses the end reports that it lost the race', async () => {
    const { run, socket } = await openRun()
    const receipt = run.cancel()
    socket.say(done(1, 1, { result: 7, ms: 1 }))
    expect(await receipt).toEqual({ outcome: 'done', confirmed: true })
    expect(await run.result).toBe(7)
  })

  test('of a run that has ended changes nothing but that the rest is not read', async () => {
    const { run, socket, server } = await openRun()
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    await take(iterator, 1)
    expect(await run.cancel()).toEqual({ outcome: 'done', confirmed: true })
    expect(await iterator.next()).toMatchObject({ done: true })
    await server.settle()
    expect(socket.said()).toEqual([])
  })

  test('that is called twice is sent once, and both calls get the receipt', async () => {
    const { run, socket, server } = await openRun()
    const both = Promise.all([run.cancel(), run.cancel()])
    await server.settle()
    expect(socket.said()).toEqual(['cancel'])
    socket.say(cancelled(1, 1))
    expect(await both).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'cancelled' }])
  })

  test('while the connection is lost is sent behind the ATTACH that comes back', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    const receipt = run.cancel()
    const next = await server.reconnected()
    expect(next.messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'attach', 'cancel'])
    next.say(opened(1), text(1, 1, 'ignored'), cancelled(1, 2))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
  })

  test('that lost its connection before the answer is sent again on the next one', async () => {
    const { run, server } = await openRun()
    const receipt = run.cancel()
    const next = await cut(server)
    expect(next.messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'attach', 'cancel'])
    next.say(cancelled(1, 1))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
  })

  test('of a START that left and was never answered sends both again', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {})
    server.socket.welcome()
    server.socket.end()
    const receipt = run.cancel()
    const next = await server.reconnected()
    expect(next.messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'start', 'cancel'])
    next.say(opened(1), cancelled(1, 1))
    expect(await receipt).toMatchObject({ outcome: 'cancelled' })
  })

  test('of a START that was answered before the loss resumes the run by its id, however long ago the START was', async () => {
    const server = new ScriptedServer()
    const run = server.client({ connectMs: 1e9 }).start('chat', {})
    server.socket.welcome({ endedMs: 10_000 })
    const receipt = run.cancel()
    await server.settle()
    server.socket.say(opened(1, { run: 'r_9' }), text(1, 1, 'ignored'))
    expect(run.id).toBe('r_9')
    await server.time.advance(5_001)
    const next = await cut(server)
    expect(next.said()).toEqual(['attach', 'cancel'])
    expect(next.last('attach')).toMatchObject({ run: 'r_9', after: 0 })
    next.say(opened(1, { run: 'r_9' }), cancelled(1, 2))
    expect(await receipt).toEqual({ outcome: 'cancelled', confirmed: true, ...RECEIPT })
  })

  test('of a run that the server refused for now does not wait for the next try', async () => {
    const { run, server } = await openRun({}, { delays: { backoffMs: 1e6, maxBackoffMs: 1e6, quickMs: 1 } })
    const socket = await cut(server)
    socket.say(failed(1, 0, 'overloaded', true))
    socket.said()
    const receipt = run.cancel()
    await server.settle()
    expect(socket.said()).toEqual(['attach', 'cancel'])
    socket.say(cancelled(2, 1))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
  })

  test('of a run that waits for its next try ends with the close of the client', async () => {
    const delays = { backoffMs: 1e6, maxBackoffMs: 1e6, quickMs: 1 }
    const { run, server, client } = await openRun({}, { delays, connectMs: 1e6 })
    const socket = await cut(server)
    const receipt = run.cancel()
    socket.say(failed(1, 0, 'overloaded', true))
    const closing = client.close()
    await server.time.advance(20_000)
    expect(await receipt).toEqual({ confirmed: false, code: 'connection_lost' })
    await closing
  })

  test('during a reopening is given up as soon as any other', async () => {
    const { run, server } = await openRun()
    await cut(server)
    const receipt = run.cancel()
    server.socket.end()
    await server.time.advance(20_000)
    expect(await receipt).toEqual({ confirmed: false, code: 'connection_lost' })
  })

  test('is tried again soon, however often the run was refused before', async () => {
    const { run, server } = await openRun()
    const socket = await cut(server)
    for (let sid = 1; sid <= 6; sid++) {
      for (let n = 0; n < 400 && socket.all('attach').length < sid; n++) await server.time.advance(100)
      socket.say(failed(sid, 0, 'overloaded', true))
    }
    const receipt = run.cancel()
    await server.settle()
    socket.say(failed(7, 0, 'overloaded', true))
    await server.time.advance(1_000)
    expect(socket.last('attach').sid).toBe(8)
    socket.say(cancelled(8, 1))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
  })

  test('is not confirmed when the connection does not come back in time', async () => {
    const { run, socket, server } = await openRun()
    socket.end()
    const receipt = run.cancel()
    await server.time.advance(20_000)
    expect(await receipt).toEqual({ confirmed: false, code: 'connection_lost' })
    await expect(run.result).rejects.toMatchObject({ code: 'connection_lost' })
  })

  test('is not confirmed by a refusal, which says nothing of the run', async () => {
    const { run, server, socket } = await openRun()
    socket.end()
    const receipt = run.cancel()
    const next = await server.reconnected()
    next.say(failed(1, 0, 'not_found'))
    expect(await receipt).toEqual({ confirmed: false, code: 'not_found' })
  })

  test('is not confirmed by the end of the view alone', async () => {
    const { run, socket } = await openRun()
    const receipt = run.cancel()
    socket.say({ kind: 'end', sid: 1, seq: 1, outcome: 'unsubscribed', data: { code: 'not_found', message: '' } })
    expect(await receipt).toEqual({ confirmed: false, code: 'not_found' })
  })

  test('is tried again when the server cannot open the stream now', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {})
    server.socket.welcome()
    const receipt = run.cancel()
    await server.settle()
    server.socket.say(failed(1, 0, 'too_many_streams', true))
    await server.time.advance(1_000)
    expect(server.socket.said()).toEqual(['start', 'cancel', 'start', 'cancel'])
    server.socket.say(cancelled(2, 1))
    expect(await receipt).toMatchObject({ outcome: 'cancelled' })
  })

  test('by an observer fails as forbidden, and leaves the view', async () => {
    const server = new ScriptedServer()
    const view = server.client().attach('chat', 'r_1')
    server.socket.welcome()
    server.socket.say(opened(1))
    const receipt = view.cancel()
    await server.settle()
    server.socket.say({ kind: 'notice', code: 'forbidden', message: 'not yours', ref: { tag: 0x05, sid: 1 } })
    expect(await receipt).toEqual({ confirmed: false, code: 'forbidden' })
    await server.settle()
    expect(server.socket.said()).toEqual(['attach', 'cancel', 'detach'])
  })

  test('is not answered by a NOTICE about the cancel of a target', async () => {
    const { run, socket, server } = await openRun()
    const target = run.cancel({ call: 'c1' })
    const receipt = run.cancel()
    await server.settle()
    const ref = { tag: 0x05, sid: 1, detail: ['call', 'c1'] }
    socket.say({ kind: 'notice', code: 'forbidden', message: 'not yours', ref }, cancelled(1, 1))
    expect(await target).toEqual({ confirmed: false, code: 'forbidden' })
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
    await server.settle()
    expect(socket.said()).toEqual(['cancel', 'cancel'])
  })

  test('of a view that has not been opened yet reaches the run', async () => {
    const server = new ScriptedServer()
    const receipt = server.client().attach('chat', 'r_1').cancel()
    server.socket.welcome()
    expect(server.socket.said()).toEqual(['attach', 'cancel'])
    server.socket.say(cancelled(1, 5))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true })
  })

  test('by another client is thrown by the loop, with its receipt', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), cancelled(1, 2))
    await expect(readAll(run)).rejects.toMatchObject({ code: 'cancelled', receipt: RECEIPT })
  })

  test('by an AbortSignal is one from here', async () => {
    const server = new ScriptedServer()
    const controller = new AbortController()
    const run = server.client().start('chat', {}, { signal: controller.signal })
    server.socket.welcome()
    server.socket.say(opened(1), text(1, 1, 'a'))
    const seen: string[] = []
    for await (const each of run.text()) {
      seen.push(each)
      controller.abort()
      await server.settle()
      expect(server.socket.said()).toEqual(['start', 'cancel'])
      server.socket.say(cancelled(1, 2))
    }
    expect(seen).toEqual(['a'])
  })

  test('by an AbortSignal that is aborted already sends nothing', async () => {
    const server = new ScriptedServer()
    const run = server.client().start('chat', {}, { signal: AbortSignal.abort() })
    server.socket.welcome()
    await expect(run.result).rejects.toMatchObject({ code: 'cancelled' })
    expect(server.socket.said()).toEqual([])
  })

  test('by an AbortSignal does nothing after the end, and leaves no listener', async () => {
    const server = new ScriptedServer()
    const { signal } = new AbortController()
    let listeners = 0
    signal.addEventListener = () => {
      listeners++
    }
    signal.removeEventListener = () => {
      listeners--
    }
    const run = server.client().start('chat', {}, { signal })
    expect(listeners).toBe(1)
    server.socket.welcome()
    server.socket.say(opened(1), done(1, 1))
    await run.result
    expect(listeners).toBe(0)
  })
})

describe('a cancel of a target', () => {
  test('resolves with the receipt of its result, and the run goes on', async () => {
    const { run, socket, server } = await openRun()
    const receipt = run.cancel({ call: 'c1', note: 'too slow' })
    await server.settle()
    expect(socket.last('cancel')).toEqual({
      kind: 'cancel',
      sid: 1,
      code: 1,
      note: 'too slow',
      target: { type: 'call', id: 'c1' },
    })
    const result = { call: 'c1', outcome: 2, ms: 5, receipt: { code: 77, settled: true } }
    socket.say(event(1, 1, EVENT.toolResult, result), text(1, 2, 'b'), done(1, 3))
    expect(await receipt).toMatchObject({ outcome: 'cancelled', confirmed: true, reason: '77', settled: true })
    expect(shortly(await readAll(run))).toEqual(['1 tool.result', '2 b'])
  })

  test('is sent again after a loss until the target has ended', async () => {
    const { run, server } = await openRun()
    const receipt = run.cancel({ agent: 'a1' })
    const next = await cut(server)
    expect(next.messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'attach', 'cancel'])
    next.say(opened(1), event(1, 1, EVENT.agentEnd, { agent: 'a1', outcome: 0 }))
    expect(await receipt).toEqual({ outcome: 'done', confirmed: true })
    expect((await cut(server)).all('cancel')).toEqual([])
  })

  test('is not confirmed when there is no such target', async () => {
    const { run, socket, server } = await openRun()
    const receipt = run.cancel({ call: 'c9' })
    await server.settle()
    const ref = { tag: 0x05, sid: 1, detail: ['call', 'c9'] }
    socket.say({ kind: 'notice', code: 'not_found', message: 'no such call', ref })
    expect(await receipt).toEqual({ confirmed: false, code: 'not_found' })
  })

  test('finds nothing when the run ends first, whatever ended it', async () => {
    const { run, socket } = await openRun()
    const receipt = run.cancel({ call: 'c1' })
    socket.say(cancelled(1, 1))
    expect(await receipt).toEqual({ confirmed: false, code: 'not_found' })
  })

  test('is not confirmed by a refusal of the view, which says nothing of the run', async () => {
    const server = new ScriptedServer()
    const run = server.client().attach('chat', 'r_1')
    const receipt = run.cancel({ call: 'c1' })
    server.socket.welcome()
    server.socket.say(failed(1, 0, 'overloaded', true))
    expect(await receipt).toEqual({ confirmed: false, code: 'connection_lost' })
  })

  test('is not confirmed when the connection does not come back', async () => {
    const { run, socket, server } = await openRun()
    const receipt = run.cancel({ call: 'c1' })
    socket.end()
    await server.time.advance(1_000_000)
    expect(await receipt).toEqual({ confirmed: false, code: 'connection_lost' })
  })
})
