import { describe, expect, test } from 'vitest'
import { conversation as openConversation } from '../../client-sdk/conversation.ts'
import { createClient } from '../../client-sdk/node.ts'
import { upload } from '../../client-sdk/upload.ts'
import type { DownFrame } from '../../protocol/frames.ts'
import { type ActorContext, actor, agent, conversation, inspector, uploads } from '../../server/index.ts'
import { readAll } from '../helpers/read-all.ts'
import { says, scriptedModel } from '../helpers/scripted-model.ts'
import { failed, gap, opened, ScriptedServer, type ScriptedSocket, text, welcome } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted, counter, latch, silent } from '../helpers/test-actors.ts'

const DELAYS = { quickMs: 2, backoffMs: 5 }

/** Answers HELLO as a server that lists runs. */
function welcomeWithRuns(socket: ScriptedSocket): void {
  socket.open()
  socket.say({ ...welcome(), features: ['runs'] } as DownFrame)
}

const facts = { actor: 'chat', state: 'running', gen: 1, seq: 7, startedAt: 5 }

function listed(sid: number, ...runs: string[]): DownFrame[] {
  return [...runs.map((run): DownFrame => ({ kind: 'listed', sid, run, info: facts })), { kind: 'listed', sid }]
}

/** Counts to 20, and waits in the middle. */
function halting(until: Promise<void>) {
  return actor({
    async *stream(_: unknown) {
      for (let n = 1; n <= 20; n++) {
        yield `${n} `
        if (n === 10) await until
      }
    },
  })
}

describe('client.runs()', () => {
  test('gives a page that was reloaded in the middle of a run what it needs to read that run, each item once', async () => {
    const half = latch()
    const teller = halting(half.opened)
    await using server = await testServer({ teller })
    const proxy = await TcpProxy.to(Number(new URL(server.url).port))
    const page = createClient<{ teller: typeof teller }>(proxy.url, { token: 'alice', delays: DELAYS })
    const started = page.start('teller', null, { meta: { chat: 'c1' } })
    const reading = started[Symbol.asyncIterator]()
    for (let n = 0; n < 10; n++) await reading.next()
    // The page is gone without a word, and with it all that it knew.
    await proxy[Symbol.asyncDispose]()
    await page.close({ runs: 'detach' })

    const reloaded = createClient<{ teller: typeof teller }>(server.url, { token: 'alice' })
    const [run, ...others] = await reloaded.runs()
    expect(others).toEqual([])
    expect(run).toEqual({
      ...{ id: started.id, actor: 'teller', gen: 1, seq: 10, meta: { chat: 'c1' } },
      ...{ state: 'running', startedAt: expect.any(Number) as number },
    })
    const { id = '', actor: name = 'teller', seq, gen = 0 } = run ?? {}
    const whole = reloaded.attach(name, id)
    const rest = reloaded.attach(name, id, { after: seq ?? 0, gen })
    await Promise.all([whole.opened, rest.opened])
    half.open()
    const read = await readAll(whole)
    expect(read.map((event) => event.seq)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
    expect((await readAll(rest.text())).join('')).toBe(counted(11, 20))
    expect(await reloaded.runs()).toMatchObject([{ id, state: 'ended', outcome: 'done', seq: 20 }])
    await reloaded.close()
  })

  test('has no run with which a page looks on or sends something', async () => {
    const talk = conversation({ agent: agent({ model: scriptedModel(says('hello')) }) })
    const actors = { count: counter(), inspector: inspector(), uploads: uploads(), talk }
    await using server = await testServer(actors)
    const client = createClient<typeof actors>(server.url, { token: 'alice' })
    await client.start('count', 3).opened
    await client.start('inspector', undefined).opened
    await upload(client, Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), { type: 'image/png' })
    const chat = openConversation(client, 'c1', { actor: 'talk' })
    await chat.send('hi')
    const runs = await client.runs()
    expect(runs.map(({ actor: name }) => name)).toEqual(['count', 'talk'])
    await client.close()
  })

  test('has nothing of another principal', async () => {
    await using server = await testServer({ silent: silent() })
    const alice = createClient<{ silent: ReturnType<typeof silent> }>(server.url, { token: 'alice' })
    const bob = createClient(server.url, { token: 'bob' })
    await alice.start('silent', null).opened
    expect(await bob.runs()).toEqual([])
    expect(await alice.runs()).toHaveLength(1)
    await Promise.all([alice.close(), bob.close()])
  })

  test('rejects where the server is older, and the connection and its runs go on', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    client.connect()
    const early = client.runs()
    server.socket.welcome()
    await expect(early).rejects.toMatchObject({ code: 'unsupported', retryable: false })
    await expect(client.runs()).rejects.toMatchObject({ code: 'unsupported' })
    client.start('chat', {})
    await server.settle()
    expect(server.socket.said()).toEqual(['start'])
    expect(client.status).toBe('open')
  })

  test('asks nothing before it knows that the server can answer', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    client.start('chat', {})
    const runs = client.runs()
    server.socket.open()
    await server.settle()
    expect(server.socket.said()).toEqual(['start'])
    welcomeWithRuns(server.socket)
    await server.settle()
    expect(server.socket.said()).toEqual(['list'])
    const { sid, watch } = server.socket.last('list')
    expect([sid, watch ?? false]).toEqual([2, false])
    server.socket.say(...listed(sid, 'r_1', 'r_2'))
    expect(await runs).toEqual(['r_1', 'r_2'].map((id) => ({ id, ...facts })))
  })

  test('rejects with the reason of a refusal, and when there is no connection in time', async () => {
    const server = new ScriptedServer()
    const client = server.client({ connectMs: 4_000 })
    const refused = client.runs()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(failed(1, 0, 'rate_limited', true))
    await expect(refused).rejects.toMatchObject({ code: 'rate_limited', retryable: true })
    server.socket.end()
    const late = client.runs()
    late.catch(() => {})
    await server.time.advance(5_000)
    await expect(late).rejects.toMatchObject({ code: 'connection_lost' })
    await client.close()
    await expect(client.runs()).rejects.toMatchObject({ code: 'connection_lost' })
  })

  test('waits for a free stream, and says so when there is none in time', async () => {
    const server = new ScriptedServer()
    const client = server.client({ connectMs: 4_000 })
    client.start('chat', {})
    server.socket.open()
    server.socket.say({ ...welcome({ maxStreams: 1 }), features: ['runs'] } as DownFrame, opened(1))
    await server.settle()
    const [late, watch] = [client.runs(), client.runs({ watch: true }).next()]
    for (const waiting of [late, watch]) waiting.catch(() => {})
    await server.settle()
    await server.time.advance(5_000)
    expect(client.status).toBe('open')
    for (const waiting of [late, watch])
      await expect(waiting).rejects.toMatchObject({ code: 'too_many_streams', retryable: true })
    const patient = client.runs()
    await server.settle()
    server.socket.say({ kind: 'end', sid: 1, seq: 1, outcome: 'done', data: {} })
    await server.settle()
    server.socket.say(...listed(server.socket.last('list').sid, 'r_1'))
    expect(await patient).toHaveLength(1)
  })

  test('asks again after a loss before the answer', async () => {
    const server = new ScriptedServer()
    const client = server.client({ connectMs: 60_000 })
    const runs = client.runs()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(...listed(1, 'r_old').slice(0, 1))
    server.socket.end()
    for (let n = 0; server.sockets.length < 2 && n < 100; n++) await server.time.advance(100)
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(...listed(server.socket.last('list').sid, 'r_1'))
    expect(await runs).toEqual([{ id: 'r_1', ...facts }])
  })
})

describe('a watch of client.runs()', () => {
  test('gives the list, and again whenever a run begins, changes or is given up, until it is left', async () => {
    const asking = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        yield* []
        await request({ kind: 'confirm' })
      },
    })
    await using server = await testServer({ asking, counter: counter() }, { limits: { retainPrincipal: 12_000 } })
    const client = createClient<{ asking: typeof asking; counter: ReturnType<typeof counter> }>(server.url, {
      token: 'alice',
    })
    const watch = client.runs({ watch: true })
    expect(await watch.next()).toEqual({ value: [], done: false })
    const run = client.start('asking', null)
    const seen: string[] = []
    for await (const runs of watch) {
      const { state = 'gone', outcome = '' } = runs.find(({ id }) => id === run.id) ?? {}
      seen.push(`${state} ${outcome}`.trim())
      if (seen.at(-1) === 'waiting_input') void run.cancel()
      // Room for one ended run: another one takes its place.
      if (seen.at(-1) === 'ended cancelled') await client.ask('counter', 1)
      if (seen.includes('ended cancelled') && seen.at(-1) === 'gone') break
    }
    expect(seen.indexOf('waiting_input')).toBeLessThan(seen.indexOf('ended cancelled'))
    expect(seen.indexOf('waiting_input')).toBeGreaterThanOrEqual(0)
    await client.close()
  })

  test('gives a slow reader the newest list, once', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const watch = client.runs({ watch: true })
    const first = watch.next()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(...listed(1, 'r_1', 'r_2'))
    expect((await first).value).toHaveLength(2)
    for (let n = 0; n < 1_000; n++)
      server.socket.say({ kind: 'listed', sid: 1, run: 'r_2', info: { ...facts, seq: n } }, { kind: 'listed', sid: 1 })
    server.socket.say({ kind: 'listed', sid: 1, run: 'r_1' })
    // Without its mark, the last change is not part of a list yet.
    const [same, changed] = (await watch.next()).value ?? []
    expect([same?.id, changed?.seq]).toEqual(['r_1', 999])
    const next = watch.next()
    server.socket.say({ kind: 'listed', sid: 1 })
    expect((await next).value).toEqual([changed])
  })

  test('comes back after a cut, with what changed meanwhile', async () => {
    await using server = await testServer({ silent: silent() })
    await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
    const client = createClient(proxy.url, { token: 'alice', delays: DELAYS })
    const other = createClient<{ silent: ReturnType<typeof silent> }>(server.url, { token: 'alice' })
    const kept = other.start('silent', null)
    await kept.opened
    const watch = client.runs({ watch: true })
    expect((await watch.next()).value).toMatchObject([{ id: kept.id }])
    proxy.connections[0]?.cut()
    await kept.cancel()
    const begun = other.start('silent', null)
    const { id } = await begun.opened
    for await (const runs of watch) if (runs.length === 2) break
    expect(await other.runs()).toMatchObject([{ id: kept.id, outcome: 'cancelled' }, { id }])
    await Promise.all([client.close(), other.close()])
  })

  test('waits and asks again when it is refused for a while', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const watch = client.runs({ watch: true })
    const first = watch.next()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(failed(1, 0, 'too_many_streams', true))
    // Up to 8 s, and not yet a PING.
    await server.time.advance(8_001)
    expect(server.socket.said()).toEqual(['list', 'list'])
    server.socket.say(...listed(2, 'r_1'))
    expect((await first).value).toHaveLength(1)
    const next = watch.next()
    server.socket.say(failed(2, 0, 'forbidden'))
    await expect(next).rejects.toMatchObject({ code: 'forbidden' })
    expect(await watch.next()).toEqual({ value: undefined, done: true })
  })

  test('ends at once when it is left while it waits, and the server is not asked any more', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const watch = client.runs({ watch: true })
    expect(server.sockets).toEqual([])
    const first = watch.next()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(...listed(1))
    await first
    const waits = watch.next()
    await watch.return?.()
    expect(await waits).toEqual({ value: undefined, done: true })
    await server.settle()
    expect(server.socket.said()).toEqual(['list', 'detach'])
    server.socket.say(...listed(1, 'r_1'))
    expect(await watch.next()).toEqual({ value: undefined, done: true })
  })

  test('that is never read asks nothing', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const watch = client.runs({ watch: true })
    await watch.return?.()
    expect(await watch.next()).toEqual({ value: undefined, done: true })
    expect([server.sockets.length, client.status]).toEqual([0, 'idle'])
  })

  test('ignores what belongs to a run', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const runs = client.runs()
    welcomeWithRuns(server.socket)
    await server.settle()
    server.socket.say(opened(1), text(1, 1, 'x'), gap(1, 2, 5), { kind: 'input_ack', sid: 1, mid: 'm', status: 'busy' })
    server.socket.say({ kind: 'notice', code: 'settled', message: '', ref: { tag: 0x43, sid: 1, detail: 0 } })
    server.socket.say(...listed(1, 'r_1'))
    expect(await runs).toHaveLength(1)
    expect(client.status).toBe('open')
  })

  test('keeps no more runs than a server may list', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const runs = client.runs()
    welcomeWithRuns(server.socket)
    await server.settle()
    for (let n = 0; n < 12_000; n += 500)
      server.socket.say(...listed(1, ...Array.from({ length: 500 }, (_, i) => `r_${n + i}`)).slice(0, -1))
    server.socket.say(...listed(1))
    expect(await runs).toHaveLength(10_000)
  })
})
