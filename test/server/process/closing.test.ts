import { createServer as createTcpServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { createServer } from '../../../server/server.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { memory } from '../../../server/transports/memory.ts'
import { freePort } from '../../helpers/free-port.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter, latch, silent } from '../../helpers/test-actors.ts'
import { inMemory, onUws, onWs } from '../../helpers/transports.ts'
import { wireClient } from '../../helpers/wire-client.ts'

describe('a server', () => {
  test.each([5, 'x'.repeat(257), '\ud800'])('is not created with a name that cannot be sent: %j', (name) => {
    const make = (): unknown =>
      createServer({ actors: { silent: silent() }, authenticate: bearer({ t: 'a' }), name: name as never })
    expect(make).toThrow(/^(the name of a server|name) must be /)
  })
})

describe('a server that closes', () => {
  test('does not listen any more', async () => {
    const server = createServer({ actors: { silent: silent() }, authenticate: bearer({ token: 'alice' }) })
    await server.close()
    await expect(server.listen(0)).rejects.toMatchObject({ code: 'bad_request' })
  })

  test.each([onWs, onUws, inMemory])(
    'while it begins to listen refuses that listen, and leaves no port open: $name',
    async (under) => {
      for (const host of ['127.0.0.1', 'localhost']) {
        const port = under === inMemory ? 0 : await freePort(host)
        const server = createServer({
          actors: { silent: silent() },
          authenticate: bearer({ token: 'alice' }),
          transport: under.make(),
        })
        const listens = server.listen(port, host)
        const closes = server.close()
        await expect(listens).rejects.toMatchObject({ code: 'bad_request', message: expect.stringMatching(/closed/) })
        await closes
        if (under !== inMemory) await freePort(host, port)
      }
    },
  )

  test('closes although its transport never finishes to listen', async () => {
    const runtime = handClock()
    const transport = { ...memory(), listen: () => new Promise<never>(() => {}) }
    const server = createServer({
      actors: { silent: silent() },
      authenticate: bearer({ token: 'alice' }),
      runtime,
      transport,
    })
    void server.listen()
    const closes = server.close()
    runtime.advance(5_000)
    await closes
  })

  test('sends GOAWAY to all clients, begins nothing, lets runs finish, and closes as soon as nothing is live', async () => {
    const gate = latch()
    const slow = actor({
      async *stream() {
        yield 'a'
        await gate.opened
        yield 'b'
      },
    })
    await using served = await testServer({ slow })
    await using client = await served.client()
    await using idle = await served.client()
    client.start(1, 'slow')
    const { run } = await client.next('opened')
    const closing = served.server.close({ drainMs: 60_000, reason: 'deploy' })
    for (const each of [client, idle]) {
      const goaway = await each.next('goaway')
      expect(goaway.reason).toBe('deploy')
      expect(goaway.graceMs).toBeGreaterThan(59_000)
      expect(goaway.graceMs).toBeLessThanOrEqual(60_000)
    }
    client.start(2, 'slow')
    expect((await client.next('end', 2)).data).toMatchObject({ code: 'draining', retryable: true })
    client.attach(3, run, 0)
    await client.next('opened', 3)
    await expect(wireClient(served.url)).rejects.toThrow()
    gate.open()
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(await client.next('end', 3)).toMatchObject({ outcome: 'done' })
    expect(await client.closed).toBe(4503)
    expect(await idle.closed).toBe(4503)
    await closing
    expect(client.text(1)).toBe('ab')
    expect(client.text(3)).toBe('ab')
  })

  test('ends runs that are live when the time is over as interrupted, so that they can be started elsewhere', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    const closing = served.server.close({ drainMs: 20 })
    expect(await client.next('end')).toMatchObject({
      seq: 1,
      outcome: 'error',
      data: { code: 'interrupted', retryable: true },
    })
    expect(await client.closed).toBe(4503)
    await closing
  })

  test('may wait forever: GOAWAY states the longest wait there is, and clients understand it', async () => {
    const gate = latch()
    const slow = actor({
      async *stream() {
        yield 'a'
        await gate.opened
      },
    })
    await using served = await testServer({ slow })
    await using client = await served.client()
    client.start(1, 'slow')
    await client.next('opened')
    const closing = served.server.close({ drainMs: Number.POSITIVE_INFINITY })
    expect(await client.next('goaway')).toEqual({ kind: 'goaway', reason: 'shutdown', graceMs: 2 ** 31 - 1 })
    gate.open()
    expect(await client.next('end')).toMatchObject({ outcome: 'done' })
    await closing
  })

  test('sends its reason cut and well-formed, however long and broken it is', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    await client.settle()
    const closing = served.server.close({ drainMs: 0, reason: `\ud800${'x'.repeat(100_000)}` })
    expect((await client.next('goaway')).reason).toBe(`\ufffd${'x'.repeat(119)}…`)
    await closing
  })

  test.each([
    { drainMs: Number.NaN },
    { drainMs: -1 },
    { drainMs: '5' as never },
    { drainMs: null as never },
    { reason: 5 as never },
  ])('refuses an invalid wait or reason, and goes on: %j', async (options) => {
    await using served = await testServer({ counter: counter() })
    await expect(served.server.close(options)).rejects.toMatchObject({ code: 'bad_request' })
    await using client = await served.client()
    client.start(1, 'counter', 3)
    expect(await client.next('end')).toMatchObject({ outcome: 'done' })
  })

  test('waits no longer than the grace for an actor that ignores its signal', async () => {
    const stuck = actor({
      async *stream() {
        yield 'x'
        await new Promise(() => {})
      },
    })
    await using served = await testServer({ stuck }, { limits: { cancelGraceMs: 30 } })
    await using client = await served.client()
    client.start(1, 'stuck')
    await client.until(() => client.count(1) === 1)
    await served.server.close({ drainMs: 0 })
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'interrupted' } })
    expect(await client.closed).toBe(4503)
  })

  test('closes sooner when it is closed again with a shorter wait', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    const closing = served.server.close({ drainMs: 3_600_000 })
    await client.next('goaway')
    expect(served.server.liveRuns).toBe(1)
    void served.server.close({ drainMs: 0 })
    await closing
    expect(await client.closed).toBe(4503)
  })

  test('sends the last items and the end of each of many runs before it closes connections', async () => {
    const gate = latch()
    const many = actor({
      async *stream() {
        await gate.opened
        for (let n = 1; n <= 200; n++) yield `${n} `
      },
    })
    await using served = await testServer({ many }, { limits: { startBurst: 1_000 } })
    await using client = await served.client()
    for (let sid = 1; sid <= 60; sid++) client.start(sid, 'many')
    await client.next('opened', 60)
    const closing = served.server.close({ drainMs: 10_000 })
    gate.open()
    expect(await client.closed).toBe(4503)
    await closing
    for (let sid = 1; sid <= 60; sid++) expect(client.text(sid)).toBe(counted(1, 200))
    expect(client.frames.filter(({ kind }) => kind === 'end')).toHaveLength(60)
  })

  test('sends GOAWAY also to a client that is welcomed after the others got theirs', async () => {
    let judge: ((who: { id: string }) => void) | undefined
    await using served = await testServer(
      { silent: silent() },
      {
        authenticate: ({ auth }) =>
          auth === 'slow' ? new Promise<{ id: string }>((resolve) => (judge = resolve)) : { id: 'alice' },
      },
    )
    await using busy = await served.client()
    busy.start(1, 'silent')
    await busy.next('opened')
    await using late = await served.client({ hello: 'unanswered', auth: 'slow' })
    await eventually(() => judge !== undefined, 'its credentials')
    const closing = served.server.close({ drainMs: 60_000 })
    await busy.next('goaway')
    judge?.({ id: 'late' })
    await late.next('welcome')
    expect(await late.next('goaway')).toMatchObject({ reason: 'shutdown' })
    busy.send({ kind: 'cancel', sid: 1 })
    await closing
  })

  test('frees its port, and can be closed again and without ever having listened', async () => {
    const first = await testServer({ silent: silent() })
    const port = Number(new URL(first.url.replace('ws:', 'http:')).port)
    await first.server.close()
    await first.server.close()
    await first[Symbol.asyncDispose]()
    await using second = createServer({ actors: { silent: silent() }, authenticate: bearer({ a: 'a' }) })
    expect((await second.listen(port)).port).toBe(port)
    const never = createServer({ actors: { silent: silent() }, authenticate: bearer({ a: 'a' }) })
    await never.close()
  })

  test('does not wait for a client that does not read', async () => {
    const flood = counter()
    await using served = await testServer({ flood })
    await using client = await served.client()
    client.start(1, 'flood', 1_000_000, { credit: 1_900 })
    await client.until(() => client.count(1) > 0)
    client.socket.pause()
    await served.server.close({ drainMs: 0 })
    expect(served.server.connections).toBe(0)
  })
})

describe('an address', () => {
  test('that is in use is refused with advice, and the server can try another', async () => {
    const taken = createTcpServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const address = taken.address()
    const port = typeof address === 'object' && address ? address.port : 0
    await using server = createServer({ actors: { count: counter() }, authenticate: bearer({ alice: 'alice' }) })
    await expect(server.listen(port)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(`port ${port} is in use`),
    })
    const { url } = await server.listen(0)
    await using client = await wireClient(url)
    client.start(1, 'count', 5)
    await client.next('end')
    await expect(server.listen(0)).rejects.toMatchObject({ code: 'bad_request' })
    await new Promise((resolve) => taken.close(resolve))
  })

  test('that is not one of this machine is refused', async () => {
    await using server = createServer({ actors: { count: counter() }, authenticate: bearer({ alice: 'alice' }) })
    await expect(server.listen(0, '192.0.2.1')).rejects.toMatchObject({ code: 'unavailable' })
  })
})
