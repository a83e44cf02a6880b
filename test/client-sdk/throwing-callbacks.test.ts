import { expect, test } from 'vitest'
import type { Status } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { systemRuntime } from '../../client-sdk/runtime.ts'
import { actor } from '../../server/actors/actor.ts'
import { readAll } from '../helpers/read-all.ts'
import { openRun, shortly, take } from '../helpers/scripted-run.ts'
import { done, opened, ScriptedServer, text, welcome } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'
import { uncaughtErrors } from '../helpers/uncaught.ts'

const bug = new Error('a bug of the application')

/** What nothing caught is reported after the microtasks. */
const reported = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('an onStatus that throws is reported each time, and changes nothing', async () => {
  using uncaught = uncaughtErrors()
  const statuses: Status[] = []
  const server = new ScriptedServer()
  const client = server.client({
    onStatus(status) {
      statuses.push(status)
      throw bug
    },
  })
  const run = client.start('chat', {})
  server.socket.open()
  server.socket.say(welcome(), opened(1), text(1, 1, ['a', 'b']))
  await server.settle()
  server.socket.end()
  const socket = await server.reconnected()
  expect(socket.last('attach')).toMatchObject({ run: 'r_1', after: 2 })
  socket.say(opened(1, { next: 3 }), text(1, 3, 'c'), done(1, 4))
  expect(await run.result).toBe('abc')
  await client.close()
  await reported()
  expect(statuses).toEqual(['connecting', 'open', 'lost', 'connecting', 'open', 'closed'])
  expect(uncaught.errors).toEqual(Array(6).fill(bug))
})

test('an onStatus that throws loses nothing of a whole answer in one message', async () => {
  using uncaught = uncaughtErrors()
  const server = new ScriptedServer()
  const client = server.client({
    onStatus() {
      throw bug
    },
  })
  const run = client.start('chat', {})
  server.socket.open()
  server.socket.say(welcome(), opened(1), text(1, 1, 'whole'), done(1, 2))
  expect(await run.result).toBe('whole')
  await reported()
  expect(uncaught.errors).toEqual([bug, bug])
})

test('an onStatus that throws does not disturb runs on a real server', async () => {
  using uncaught = uncaughtErrors()
  const chat = actor({
    async *stream() {
      yield* ['one ', 'two']
    },
  })
  await using server = await testServer({ chat })
  const client = createClient<{ chat: typeof chat }>(server.url, {
    token: 'alice',
    onStatus() {
      throw bug
    },
  })
  expect(await Promise.all([client.ask('chat', undefined), client.ask('chat', undefined)])).toEqual([
    'one two',
    'one two',
  ])
  await client.close()
  await reported()
  expect(uncaught.errors).toEqual([bug, bug, bug])
})

test('a token function that throws at once is asked again', async () => {
  let asked = 0
  const server = new ScriptedServer()
  const client = server.client({
    token() {
      if (++asked === 1) throw bug
      return 'secret'
    },
  })
  const run = client.start('chat', {})
  await server.reconnected()
  expect(server.socket.last('hello').auth).toBe('secret')
  server.socket.say(opened(server.socket.last('start').sid), done(1, 1, { result: 7 }))
  expect(await run.result).toBe(7)
})

test('a clock that throws once costs no item, not even in the last message', async () => {
  using uncaught = uncaughtErrors()
  let isBroken = false
  const server = new ScriptedServer()
  const runtime = {
    ...systemRuntime,
    now: () => server.time.now(),
    setTimer: server.time.setTimer.bind(server.time),
    wallClock() {
      if (!isBroken) return server.time.wallClock()
      isBroken = false
      throw bug
    },
  }
  const run = server.client({ runtime, timestamps: false }).start('chat', {})
  server.socket.welcome()
  const untimed = (seq: number, body: string[]) => ({ kind: 'delta', sid: 1, seq, lane: 0, body }) as const
  server.socket.say(opened(1), untimed(1, ['a']))
  const iterator = run[Symbol.asyncIterator]()
  expect(shortly(await take(iterator, 1))).toEqual(['1 a'])
  isBroken = true
  server.socket.say(untimed(2, ['b', 'c']), done(1, 4))
  await reported()
  expect(uncaught.errors).toEqual([bug])
  // The items that were lost by it are missed at the end, and asked for again.
  const next = await server.reconnected()
  expect(next.last('attach')).toMatchObject({ after: 1 })
  next.say(opened(1, { next: 2 }), untimed(2, ['b', 'c']), done(1, 4))
  expect(shortly(await take(iterator, 2))).toEqual(['2 b', '3 c'])
  expect((await iterator.next()).done).toBe(true)
})

test('an END of a run that was never opened is no end: the run is opened again', async () => {
  const server = new ScriptedServer()
  const run = server.client().start('chat', {})
  server.socket.welcome()
  server.socket.say(done(1, 3))
  expect(server.socket.closeCode).toBe(4420)
  const next = await server.reconnected()
  next.say(opened(1), text(1, 1, ['a', 'b']), done(1, 3))
  expect(await readAll(run.text())).toEqual(['a', 'b'])
})

test('an END of a view that was not opened again is no end either', async () => {
  const { run, socket, server } = await openRun()
  socket.say(text(1, 1, 'a'))
  socket.end()
  const next = await server.reconnected()
  next.say(done(1, 2))
  expect(next.closeCode).toBe(4420)
  const last = await server.reconnected()
  last.say(opened(1, { next: 2 }), done(1, 2))
  expect(await run.result).toBe('a')
})
