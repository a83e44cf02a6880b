import { spawnSync } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { EVENT } from '../../protocol/events.ts'
import { compiledScript } from '../helpers/compiled-scripts.ts'
import { readAll } from '../helpers/read-all.ts'
import { openRun } from '../helpers/scripted-run.ts'
import {
  cancelled,
  done,
  event,
  failed,
  gap,
  opened,
  RECEIPT,
  ScriptedServer,
  text,
} from '../helpers/scripted-server.ts'

describe('a result', () => {
  test('drains the run when nothing else reads it, and is its text', async () => {
    const { run, socket, server } = await openRun()
    const result = run.result
    socket.say(text(1, 1, ['Hel', 'lo']))
    await server.settle()
    socket.say(
      event(1, 3, EVENT.laneStart, { lane: 1, type: 'thinking' }),
      text(1, 4, 'hm', 1),
      text(1, 5, '!'),
      done(1, 6, { ms: 9 }),
    )
    expect(await result).toBe('Hello!')
  })

  test('is all the text also of a long answer whose last part a rewind takes back', async () => {
    const { run, socket, server } = await openRun()
    const result = run.result
    for (let seq = 1; seq <= 1_901; seq += 100) {
      socket.say(text(1, seq, Array<string>(100).fill('x')))
      await server.settle()
    }
    socket.say(gap(1, 1_991, 1_991, { reason: 'rewound', gen: 2 }), text(1, 1_991, 'y'), done(1, 1_992))
    expect(await result).toBe(`${'x'.repeat(1_990)}y`)
  })

  test('of a long answer is incomplete when a rewind reaches far back', async () => {
    const { run, socket, server } = await openRun()
    const result = run.result
    for (let seq = 1; seq <= 3_901; seq += 100) {
      socket.say(text(1, seq, Array<string>(100).fill('x')))
      await server.settle()
    }
    socket.say(gap(1, 2, 2, { reason: 'rewound', gen: 2 }), text(1, 2, 'y'), done(1, 3))
    await expect(result).rejects.toMatchObject({ code: 'interrupted' })
  })

  test('has the text that a rewind leaves, also where events are between', async () => {
    const { run, socket, server } = await openRun()
    const result = run.result
    for (let seq = 1; seq < 3_000; seq += 3) {
      socket.say(text(1, seq, 'a'), event(1, seq + 1, EVENT.progress, { done: seq }), text(1, seq + 2, 'b'))
      if (seq % 99 === 1) await server.settle()
    }
    await server.settle()
    socket.say(gap(1, 2_996, 2_996, { reason: 'rewound', gen: 2 }), text(1, 2_996, '!'), done(1, 2_997))
    expect(await result).toBe(`${'ab'.repeat(998)}a!`)
  })

  test('of a view that begins far on costs no more where its first item is void', async () => {
    const far = 4_000_000_000
    const server = new ScriptedServer()
    const run = server.client().attach('chat', 'r_far', { after: far, gen: 1 })
    const { result } = run
    const { socket } = server
    socket.welcome()
    socket.say(
      opened(1, { run: 'r_far', next: far + 1, gen: 1 }),
      gap(1, far - 1, far - 1, { reason: 'rewound', gen: 2 }),
      text(1, far - 1, 'y'),
      done(1, far),
    )
    expect(await result).toBe('y')
  })

  test('is what the actor returned, where it returned something', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), done(1, 2, { result: { answer: 42 }, ms: 9 }))
    expect(await run.result).toEqual({ answer: 42 })
  })

  test('can be awaited before, while and after the run is read', async () => {
    const { run, socket } = await openRun()
    const before = run.result
    const reading = readAll(run.text())
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    expect(await reading).toEqual(['a', 'b'])
    expect(await Promise.all([before, run.result])).toEqual(['ab', 'ab'])
    expect(run.result).toBe(before)
  })

  test('rejects with the error of the run', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), failed(1, 2, 'provider_overloaded', true))
    await expect(run.result).rejects.toMatchObject({
      code: 'provider_overloaded',
      message: 'because of provider_overloaded',
      retryable: true,
    })
  })

  test('rejects when text is missing and the policy was not to skip', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), gap(1, 2, 5, { reason: 'retention' }), text(1, 5, 'e'), done(1, 6))
    await expect(run.result).rejects.toMatchObject({ code: 'interrupted' })
  })

  test('is the text that was read when the policy was to skip', async () => {
    const { run, socket } = await openRun()
    socket.say(text(1, 1, 'a'), gap(1, 2, 5, { reason: 'policy' }), text(1, 5, 'e'), done(1, 6))
    expect(await run.result).toBe('ae')
  })

  test('that is not read kills no process when it rejects', () => {
    const script = compiledScript('test/helpers/unread-rejections-process.ts')
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'still here\n' })
  })
})

describe('the end', () => {
  test('of a run that is done has its outcome, usage and duration', async () => {
    const { run, socket } = await openRun()
    const usage = { input: 3, output: 5 }
    socket.say(text(1, 1, 'a'), done(1, 2, { usage, stop: 'stop', ms: 7 }))
    expect(await run.end).toEqual({ outcome: 'done', seq: 2, usage, stop: 'stop', ms: 7 })
    expect(await run.usage).toEqual(usage)
  })

  test('of a run that failed does not reject', async () => {
    const { run, socket } = await openRun()
    socket.say(failed(1, 1, 'tool_failed'))
    const error = { code: 'tool_failed', message: 'because of tool_failed', retryable: false }
    expect(await run.end).toEqual({ outcome: 'error', seq: 1, error })
    expect(await run.usage).toBeUndefined()
  })

  test('of a cancelled run holds the receipt', async () => {
    const { run, socket } = await openRun()
    socket.say(cancelled(1, 1))
    expect(await run.end).toEqual({ outcome: 'cancelled', seq: 1, receipt: RECEIPT })
    await expect(run.result).rejects.toMatchObject({ code: 'cancelled', receipt: RECEIPT })
  })

  test('waits for a reader that has not read to it', async () => {
    const { run, socket, server } = await openRun()
    const iterator = run.text()
    let isKnown = false
    void run.end.then(() => (isKnown = true))
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    await iterator.next()
    await iterator.next()
    await server.settle()
    expect(isKnown).toBe(false)
    expect(await iterator.next()).toEqual({ value: undefined, done: true })
    expect(await run.end).toMatchObject({ outcome: 'done' })
  })
})

describe('reading', () => {
  test('is for one reader', async () => {
    const { run, socket } = await openRun()
    const first = run.text()
    expect(() => run.text()).toThrow(expect.objectContaining({ code: 'already_reading' }))
    await expect(
      (async () => {
        for await (const each of run) expect(each).toBeUndefined()
      })(),
    ).rejects.toMatchObject({ code: 'already_reading' })
    socket.say(text(1, 1, 'a'))
    expect(await first.next()).toEqual({ value: 'a', done: false })
  })

  test('is too late once the run was drained for its result', async () => {
    const { run, socket, server } = await openRun()
    void run.result
    socket.say(text(1, 1, 'a'))
    await server.settle()
    expect(() => run.text()).toThrow(expect.objectContaining({ code: 'already_reading' }))
  })

  test('the text leaves out everything else', async () => {
    const { run, socket } = await openRun()
    socket.say(
      event(1, 1, EVENT.iterationStart, { n: 1, max: 8 }),
      text(1, 2, 'a'),
      gap(1, 3, 5, { reason: 'policy' }),
      event(1, 5, EVENT.usage, { input: 1, output: 1 }),
      text(1, 6, ['b', 'c']),
      done(1, 8),
    )
    expect(await readAll(run.text())).toEqual(['a', 'b', 'c'])
  })

  test('the text throws where some of it is missing, and leaves the run', async () => {
    const { run, socket, server } = await openRun()
    const texts = run.text()
    socket.said()
    socket.say(text(1, 1, 'a'), gap(1, 2, 5, { reason: 'store_lost' }), text(1, 5, 'e'))
    expect(await texts.next()).toEqual({ value: 'a', done: false })
    await expect(texts.next()).rejects.toMatchObject({ code: 'interrupted' })
    expect(await texts.next()).toEqual({ value: undefined, done: true })
    await server.settle()
    expect(socket.said()).toEqual(['detach'])
  })

  test('several calls of next are answered in their order', async () => {
    const { run, socket } = await openRun()
    const texts = run.text()
    const calls = Promise.all([texts.next(), texts.next(), texts.next(), texts.next()])
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    expect((await calls).map(({ value }) => value)).toEqual(['a', 'b', undefined, undefined])
  })

  test('throws an error once, and ends after it', async () => {
    const { run, socket } = await openRun()
    const iterator = run[Symbol.asyncIterator]()
    const calls = [iterator.next(), iterator.next()]
    socket.say(failed(1, 1, 'tool_failed'))
    await expect(calls[0]).rejects.toMatchObject({ code: 'tool_failed' })
    expect(await calls[1]).toEqual({ value: undefined, done: true })
  })

  test('moves the position, from which a later client goes on', async () => {
    const { run, socket, client, server } = await openRun()
    const iterator = run[Symbol.asyncIterator]()
    socket.say(text(1, 1, ['a', 'b', 'c']))
    await iterator.next()
    await iterator.next()
    const position = run.position!
    expect(position).toEqual({ run: 'r_1', gen: 1, seq: 2 })
    client.attach('chat', position.run, { after: position.seq, gen: position.gen })
    await server.settle()
    expect(socket.last('attach')).toMatchObject({ run: 'r_1', after: 2, options: { gen: 1 } })
  })

  test('gives the events of an application as data under their name', async () => {
    const { run, socket } = await openRun()
    socket.say(event(1, 1, 'weather', { celsius: 4 }), event(1, 2, EVENT.data, { name: 'n', value: 'v' }))
    const iterator = run[Symbol.asyncIterator]()
    expect((await iterator.next()).value).toMatchObject({ type: 'data', name: 'weather', value: { celsius: 4 } })
    expect((await iterator.next()).value).toMatchObject({ type: 'data', name: 'n', value: 'v' })
  })
})

describe('ask', () => {
  test('runs the ask of the actor and resolves with its answer', async () => {
    const server = new ScriptedServer()
    const answer = server.client().ask('chat', { prompt: 'hi' }, { timeoutMs: 500, meta: { page: 1 } })
    server.socket.welcome()
    expect(server.socket.last('start').options).toMatchObject({ ask: true, timeoutMs: 500, meta: { page: 1 } })
    server.socket.say(opened(1), done(1, 1, { result: 'there', ms: 1 }))
    expect(await answer).toBe('there')
  })

  test('rejects for an input that cannot travel', async () => {
    const answer = new ScriptedServer().client().ask('chat', { prompt: Symbol('s') as unknown as string })
    await expect(answer).rejects.toMatchObject({ code: 'bad_request' })
  })

  test('leaves no listener on its signal when the client is closed already', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    await client.close()
    const { signal } = new AbortController()
    await expect(client.ask('chat', {}, { signal })).rejects.toMatchObject({ code: 'connection_lost' })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('rejects with cancelled when its signal aborts', async () => {
    const server = new ScriptedServer()
    const controller = new AbortController()
    const answer = server.client().ask('chat', {}, { signal: controller.signal })
    server.socket.welcome()
    controller.abort()
    await server.settle()
    server.socket.say(cancelled(1, 1))
    await expect(answer).rejects.toMatchObject({ code: 'cancelled', receipt: RECEIPT })
  })
})
