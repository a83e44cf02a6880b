import '../helpers/work-counter.ts'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { UpFrame } from '../../protocol/frames.ts'
import { actor, bearer } from '../../server/index.ts'
import { type CrowdedServer, crowdedServer, QUESTIONS } from '../helpers/crowded-server.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'
import { Work } from '../helpers/work-counter.ts'

/** How much more one of the two servers keeps. */
const MANY = 100
const FRAMES = 200
/** As many streams as one connection may have, or answers as a stream lets wait. */
const STREAMS = 60

/** Makes ready what is to be measured, and returns it. */
type Prepare = (server: CrowdedServer) => Promise<() => Promise<unknown>>

/** Frames in one message, to a server on which this client has a stream of the crowded run. */
function frames(count: number, frame: (n: number, server: CrowdedServer) => UpFrame): Prepare {
  return async (server) => {
    const client = await reader(server)
    return () => send(client, count, (n) => frame(n, server))
  }
}

async function reader(server: CrowdedServer): Promise<WireClient> {
  const client = await server.client()
  client.attach(1, server.crowded, null, { policy: 'pace', credit: 100 })
  await client.next('opened', 1)
  return client
}

async function send(client: WireClient, count: number, frame: (n: number) => UpFrame): Promise<void> {
  client.send(...Array.from({ length: count }, (_, n) => frame(n)))
  await client.settle()
}

function cancel(type: 'call' | 'agent', id: string): UpFrame {
  return { kind: 'cancel', sid: 1, target: { type, id } }
}

function input(mid: string, type: string, data: unknown): UpFrame {
  return { kind: 'input', sid: 1, mid, type, data }
}

/** What clients may send, each kind in the ways that look something up. */
const table: { readonly [kind in UpFrame['kind']]: { readonly [what: string]: Prepare } } = {
  hello: {
    'of a new principal': async (server) => async () => {
      for (let n = 0; n < 20; n++) await server.client(`new ${n}`)
    },
    'that takes over': async (server) => {
      const { client } = await server.client()
      return async () => {
        for (let attempt = 2; attempt < 20; attempt++) await server.client('alice', { client, attempt })
      }
    },
  },
  start: {
    'of an actor': frames(STREAMS, (n) => ({ kind: 'start', sid: 2 + n, actor: 'brief', input: null, options: {} })),
    'of a key that is known': frames(STREAMS, (n) => ({
      kind: 'start',
      sid: 2 + n,
      actor: 'brief',
      input: null,
      options: { key: 'known' },
    })),
    'of nothing': frames(FRAMES, (n) => ({ kind: 'start', sid: 2 + n, actor: 'none', input: null, options: {} })),
  },
  attach: {
    'to a run with a long log': frames(STREAMS, (n, { history }) => ({
      kind: 'attach',
      sid: 2 + n,
      run: history,
      after: null,
      options: {},
    })),
    'to nothing': frames(FRAMES, (n) => ({ kind: 'attach', sid: 2 + n, run: 'none', after: 0, options: {} })),
  },
  credit: {
    'of one that holds nobody back': frames(FRAMES, () => ({ kind: 'credit', sid: 1, n: 1 })),
  },
  rate: {
    'that lets go what another holds back': async (server) => {
      const client = await server.client()
      client.start(1, 'talker', null, { rate: 0 })
      const { run } = await client.next('opened')
      client.attach(2, run, null, { policy: 'pace', rate: 0 })
      await server.crowd(run)
      // At each moment one of the two is paused.
      return () =>
        send(client, FRAMES, (n) => ({
          kind: 'rate',
          sid: n % 4 < 2 ? 1 : 2,
          perSec: n % 2 === 0 ? null : 0,
        }))
    },
    'that pauses, or goes on': frames(FRAMES, (n) => ({ kind: 'rate', sid: 1, perSec: n % 2 === 0 ? 0 : null })),
  },
  detach: {
    'of one of many': async (server) => {
      const client = await reader(server)
      await send(client, STREAMS, (n) => ({
        kind: 'attach',
        sid: 2 + n,
        run: server.crowded,
        after: null,
        options: { policy: 'pace' },
      }))
      await client.next('opened', STREAMS + 1)
      return () => send(client, STREAMS, (n) => ({ kind: 'detach', sid: 2 + n }))
    },
    'of nothing': frames(FRAMES, () => ({ kind: 'detach', sid: 1_000 })),
  },
  cancel: {
    'of a call that nobody knows': frames(STREAMS, () => cancel('call', 'none')),
    'of an agent that nobody knows': frames(STREAMS, () => cancel('agent', 'none')),
    'of a call that goes on': frames(FRAMES, () => cancel('call', 'own 0')),
    'of a call of a child': frames(FRAMES, (_, { size }) => cancel('call', `child ${size - 1}`)),
    'of a call whose result is not read': frames(FRAMES, (_, { size }) => cancel('call', `unread ${size - 1}`)),
    'of a call whose result is held back': frames(FRAMES, (_, { size }) => cancel('call', `waiting ${size - 1}`)),
    'of an agent': frames(FRAMES, (_, { agent }) => cancel('agent', agent)),
    'of a run that stops already': async (server) => {
      const client = await server.client()
      client.start(1, 'stubborn')
      await client.next('opened')
      return () => send(client, FRAMES, () => ({ kind: 'cancel', sid: 1 }))
    },
  },
  input: {
    'that says something': async (server) => {
      const client = await server.client()
      client.start(1, 'listener')
      await client.next('opened')
      return () => send(client, FRAMES, (n) => input(`${n}`, 'message', n))
    },
    'that was said before': frames(FRAMES, () => input('same', 'message', null)),
    'that answers nothing': frames(FRAMES, (n) => input(`a${n}`, 'answer', { request: 'none' })),
    'that approves nothing': frames(FRAMES, (n) => input(`b${n}`, 'approve', { call: 'none' })),
    'that answers one of many questions': async (server) => {
      const client = await server.client()
      client.attach(1, server.asking, null)
      await client.next('opened')
      return () => send(client, QUESTIONS, (n) => input(`${n}`, 'answer', { request: `q${n + 1}`, value: n }))
    },
    'that answers a child': frames(FRAMES, (n, { request }) => input(`c${n}`, 'answer', { request })),
    'that approves a call': frames(FRAMES, (n) => input(`d${n}`, 'approve', { call: 'asked 0' })),
  },
  list: {
    'of a principal with few runs': async (server) => {
      const client = await server.client('reader of few')
      client.start(1, 'brief')
      await client.next('end')
      return () => send(client, STREAMS, (n) => ({ kind: 'list', sid: 2 + n }))
    },
    'that is watched, of a principal with few runs': async (server) => {
      const client = await server.client('watcher of few')
      return () => send(client, STREAMS, (n) => ({ kind: 'list', sid: 1 + n, watch: true }))
    },
  },
  ping: { 'that is one of many': frames(FRAMES, (nonce) => ({ kind: 'ping', nonce })) },
  pong: { 'that answers nothing': frames(FRAMES, (nonce) => ({ kind: 'pong', nonce })) },
}

const cases = Object.entries(table).flatMap(([kind, ways]) =>
  Object.entries(ways).map(([what, prepare]) => [kind.toUpperCase(), what, prepare] as const),
)

let few: CrowdedServer
let many: CrowdedServer
beforeAll(async () => {
  few = await crowdedServer(1)
  many = await crowdedServer(MANY)
}, 60_000)
afterEach(async () => {
  await few.dismiss()
  await many.dismiss()
})
afterAll(async () => {
  await few[Symbol.asyncDispose]()
  await many[Symbol.asyncDispose]()
})

/** What is done of `server/` and `protocol/` for something that was made ready before. */
async function workOf(ready: Promise<() => Promise<unknown>>): Promise<Work> {
  const act = await ready
  Work.take()
  await act()
  return Work.take()
}

/** Nothing was done once for each of the many. */
function expectAsMuch(most: Work, least: Work): void {
  expect(most.total, `done beyond that:\n${most.beyond(least)}`).toBeLessThan(least.total * 1.25 + MANY)
}

test.each(cases)('%s %s costs no more where more is kept', async (_, __, prepare) => {
  const least = await workOf(prepare(few))
  const most = await workOf(prepare(many))
  expectAsMuch(most, least)
})

test('HELLO with a token costs no more where more tokens are known', async () => {
  const greeted = async (tokens: number): Promise<Work> => {
    const known = Object.fromEntries(Array.from({ length: tokens }, (_, n) => [`token ${n}`, `principal ${n}`]))
    await using served = await testServer({ silent: silent() }, { authenticate: bearer(known) })
    return await workOf(
      Promise.resolve(async () => {
        for (let n = 0; n < 20; n++) {
          await using client = await served.client({ auth: 'token 0' })
          await client.settle()
        }
      }),
    )
  }
  const least = await greeted(1)
  expectAsMuch(await greeted(10 * MANY), least)
})

test('DETACH from a server that goes away costs no more where more connections are idle', async () => {
  const detached = async (idle: number): Promise<Work> => {
    const brief = actor({ ask: () => 'so' })
    const limits = { heartbeatMs: 3_600_000 }
    await using served = await testServer({ brief }, { authenticate: ({ auth }) => ({ id: String(auth) }), limits })
    const clients = [await served.client()]
    while (clients.length < idle) clients.push(await served.client({ auth: `principal ${clients.length}` }))
    const client = await served.client()
    for (let sid = 1; sid <= STREAMS; sid++) client.start(sid, 'brief', null, { policy: 'log', rate: 0 })
    await client.next('opened', STREAMS)
    await eventually(() => served.server.liveRuns === 0, 'all runs have ended, and their streams are open')
    await client.settle()
    void served.server.close({ drainMs: 60_000 })
    for (const each of [...clients, client]) await each.next('goaway')
    return await workOf(Promise.resolve(() => send(client, STREAMS - 1, (n) => ({ kind: 'detach', sid: n + 1 }))))
  }
  const least = await detached(1)
  expectAsMuch(await detached(MANY), least)
})

test('a CANCEL that is repeated costs no second error with a stack', async () => {
  const prepare = table.cancel['of a run that stops already'] as Prepare
  expect((await workOf(prepare(few))).calls('MillraceError')).toBe(1)
})
