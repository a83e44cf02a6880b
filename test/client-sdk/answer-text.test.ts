import { describe, expect, test } from 'vitest'
import type { AnyData, Run } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { EVENT } from '../../protocol/events.ts'
import { actor } from '../../server/actors/actor.ts'
import { readAll } from '../helpers/read-all.ts'
import { openRun } from '../helpers/scripted-run.ts'
import { done, event, gap, text } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'

const ITEMS = 100
const ITEM = 'x'.repeat(1_000)
const MESSAGES = 400
const ALL = MESSAGES * ITEMS * ITEM.length

/** Reads a run of that many messages, in the loop that `begin` makes. Returns the run when it was read to its end. */
async function readLong(
  begin: (run: Run<AnyData, string>) => AsyncIterable<unknown>,
  messages = MESSAGES,
): Promise<Run<AnyData, string>> {
  const { run, socket, server } = await openRun()
  const loop = begin(run)[Symbol.asyncIterator]()
  for (let n = 0; n < messages; n++) {
    socket.say(text(1, n * ITEMS + 1, Array<string>(ITEMS).fill(ITEM)))
    for (let m = 0; m < ITEMS; m++) await loop.next()
  }
  socket.say(done(1, messages * ITEMS + 1))
  await server.settle()
  expect(await loop.next()).toMatchObject({ done: true })
  return run
}

/** Bytes of the heap, garbage left out. */
async function heapUsed(): Promise<number> {
  await new Promise((resolve) => setImmediate(resolve))
  globalThis.gc!()
  return process.memoryUsage().heapUsed
}

describe('the text of a long answer', () => {
  test.each<[string, (run: Run<AnyData, string>) => AsyncIterable<unknown>]>([
    ['events', (run) => run],
    ['text', (run) => run.text()],
  ])('that is read as %s is not kept for a result that is not asked for', async (_, begin) => {
    const before = await heapUsed()
    const run = await readLong(begin)
    expect((await heapUsed()) - before).toBeLessThan(5_000_000)
    await expect(run.result).rejects.toMatchObject({ code: 'already_reading', retryable: false })
    expect(await run.end).toMatchObject({ outcome: 'done' })
  })

  test('is kept for a result that was asked for before the loop', async () => {
    let result: Promise<string> | undefined
    await readLong((run) => {
      result = run.result
      return run
    })
    expect((await result)?.length).toBe(ALL)
  })

  test('is kept up to 1,048,576 characters, so that most results can be asked for after the loop', async () => {
    const run = await readLong((each) => each.text(), 10)
    expect(await run.result).toHaveLength(1_000_000)
  })
})

describe('after the end of a loop,', () => {
  test.each<[string, (run: Run, loop: AsyncIterator<unknown>) => unknown]>([
    ['cancel', (run) => run.cancel()],
    ['cancel of a call', (run) => run.cancel({ call: 'c1' })],
    ['detach', (run) => run.detach()],
    ['return', (_, loop) => loop.return?.()],
    [
      'all of them',
      (run, loop) => {
        run.detach()
        void run.cancel()
        return loop.return?.()
      },
    ],
  ])('%s leaves the result and the position as they are', async (_, leave) => {
    const { run, socket, server } = await openRun()
    const loop = run.text()
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    expect(await readAll(loop)).toEqual(['a', 'b'])
    await leave(run, loop)
    expect(await run.result).toBe('ab')
    expect(await run.end).toMatchObject({ outcome: 'done' })
    expect(run.position).toMatchObject({ seq: 2 })
    await server.settle()
    expect(socket.said()).toEqual([])
  })

  test('and after that of a drain, a cancel leaves the result as it is', async () => {
    const { run, socket, server } = await openRun()
    const end = run.end
    socket.say(text(1, 1, ['a', 'b']), done(1, 3))
    await end
    expect(await run.cancel()).toEqual({ outcome: 'done', confirmed: true })
    expect(await run.result).toBe('ab')
    await server.settle()
    expect(socket.said()).toEqual([])
  })

  test('an abort of the signal leaves the result as it is', async () => {
    await using server = await testServer({ chat: sayer() })
    const client = createClient<{ chat: ReturnType<typeof sayer> }>(server.url, { token: 'alice' })
    const controller = new AbortController()
    const run = client.start('chat', undefined, { signal: controller.signal })
    await readAll(run)
    controller.abort()
    expect(await run.result).toBe('said')
    await client.close()
  })
})

describe('the text of a sub-agent', () => {
  test('is not part of the text and the result of the run that passes it on', async () => {
    const { run, socket } = await openRun()
    const reading = readAll(run.text())
    socket.say(
      text(1, 1, 'mine '),
      event(1, 2, EVENT.agentStart, { agent: 'a1', name: 'writer' }),
      event(1, 3, EVENT.laneStart, { lane: 1, type: 'text', agent: 'a1' }),
      text(1, 4, ['theirs', ' too'], 1),
      event(1, 6, EVENT.agentEnd, { agent: 'a1', outcome: 0 }),
      text(1, 7, 'again'),
      done(1, 8),
    )
    expect(await reading).toEqual(['mine ', 'again'])
    expect(await run.result).toBe('mine again')
  })

  test('on a real server is among the events only', async () => {
    const child = sayer()
    const parent = actor({
      async *stream(_: unknown, { spawn }) {
        yield 'first '
        yield* spawn(child, undefined)
        yield 'last'
      },
    })
    await using server = await testServer({ parent })
    const client = createClient<{ parent: typeof parent }>(server.url, { token: 'alice' })
    const run = client.start('parent', null)
    const texts: string[] = []
    for await (const each of run) if (each.type === 'token') texts.push(each.text)
    expect(texts.join('')).toBe('first saidlast')
    expect(await run.result).toBe('first last')
    expect(await client.ask('parent', null)).toBe('first last')
    await client.close()
  })

  test('that a rewind takes back leaves the text of the run', async () => {
    const { run, socket, server } = await openRun()
    const result = run.result
    socket.say(text(1, 1, 'mine'), event(1, 2, EVENT.laneStart, { lane: 1, type: 'text', agent: 'a1' }))
    socket.say(text(1, 3, 'theirs', 1))
    await server.settle()
    socket.say(gap(1, 3, 3, { gen: 2 }), text(1, 3, '!'), done(1, 4))
    expect(await result).toBe('mine!')
  })
})

/** Says one word. */
function sayer() {
  return actor({
    async *stream() {
      yield 'said'
    },
  })
}
