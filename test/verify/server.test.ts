import { describe, expect, test, vi } from 'vitest'
import { decodeUp } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { type DownFrame, TAG, type UpFrame } from '../../protocol/frames.ts'
import { referenceActors } from '../../server/cli/reference-actors.ts'
import { actor } from '../../server/index.ts'
import type { Report } from '../../verify/report.ts'
import { judgeServer, SERVER_CHECKS } from '../../verify/server/judge.ts'
import { scanLimits } from '../helpers/codec-paths.ts'
import { type Alteration, frameProxy } from '../helpers/frame-proxy.ts'
import { REFERENCE_OPTIONS, referenceServer, TOKENS } from '../helpers/reference-server.ts'
import { testServer } from '../helpers/server.ts'
import { repetitions } from '../helpers/tier.ts'
import { onUws, onWs } from '../helpers/transports.ts'

/** The report on a server. */
function judged(
  url: string,
  patienceMs: number,
  only: readonly string[] = [],
  drain?: () => Promise<void>,
): Promise<Report> {
  const { signal } = new AbortController()
  return judgeServer({ kit: 'test', url, ...TOKENS, level: 'full', only, patienceMs, signal, drain })
}

/** Whether a broken server is judged by every check, or only by the broken one and those of the same section. */
const isWhole = repetitions({ quick: 0, full: 1 }) > 0
/** The time within which a server that goes away is asked for things, also on a machine that has much else to do. */
const DRAIN_MS = isWhole ? 4_000 : 2_000

/** Lets a server go away, which gives its runs a moment. */
function draining({ server }: Awaited<ReturnType<typeof referenceServer>>): () => Promise<void> {
  return async () => void server.close({ drainMs: DRAIN_MS })
}

// Judging is mostly waiting. With too many at once, this process would be late for its own clients.
vi.setConfig({ maxConcurrency: isWhole ? 6 : 16 })

/** The report on a server that breaks the rule of a check. */
async function judgedBroken(name: string, alteration: Alteration): Promise<Report> {
  await using server = await referenceServer(onWs)
  await using proxy = await frameProxy(server.url, alteration)
  const index = SERVER_CHECKS.findIndex((check) => check.name === name)
  const { section, isAlone } = SERVER_CHECKS[index]!
  // What is judged alone may leave something to those behind it.
  const near = SERVER_CHECKS.filter(
    (check, at) => check.section === section || check.isEssential || (isAlone && check.isAlone && at > index),
  )
  const only = isWhole ? [] : near.map((check) => check.name)
  return await judged(proxy.url, isWhole ? 8_000 : 4_000, only, draining(server))
}

/** What is wrong, by the names of the checks. */
function failures({ checks }: Report): Record<string, string> {
  const failed = checks.filter(({ status }) => status === 'failed')
  return Object.fromEntries(failed.map(({ name, expected, seen }) => [name, `expected ${expected}, saw ${seen}`]))
}

describe.concurrent.each([onWs, onUws])('on $name', (by) => {
  test('the reference server passes every check of every level', async () => {
    await using server = await referenceServer(by)
    const report = await judged(server.url, 8_000, [], draining(server))
    expect(failures(report)).toEqual({})
    expect(report).toMatchObject({ passed: SERVER_CHECKS.length, failed: 0, skipped: 0 })
  })
})

test.concurrent('a server that is gone in the middle fails a few checks, and is not judged by the others', async () => {
  await using server = await referenceServer(onWs)
  const proxy = await frameProxy(server.url, {
    up(message) {
      // The first PING ends it.
      if (message[1] === TAG.ping) void proxy[Symbol.asyncDispose]()
      return message
    },
  })
  const report = await judged(proxy.url, 4_000)
  const skipped = report.checks.filter(({ status }) => status === 'skipped')
  expect(report.failed).toBeGreaterThan(0)
  expect(skipped.length).toBeGreaterThan(SERVER_CHECKS.length / 2)
  expect(new Set(skipped.map(({ reason }) => reason))).toEqual(new Set(['no server listens there any more']))
})

type FrameOf<Kind extends DownFrame['kind']> = Extract<DownFrame, { kind: Kind }>

/** A server that sends other frames in place of those of one kind. */
function each<Kind extends DownFrame['kind']>(
  kind: Kind,
  alter: (frame: FrameOf<Kind>) => DownFrame | DownFrame[] | undefined,
): Alteration {
  return {
    down: (frames) =>
      frames.flatMap((frame) => (frame.kind === kind ? (alter(frame as FrameOf<Kind>) ?? []) : [frame])),
  }
}

/** A server that sends other data in the ENDs of one outcome. */
function ends(outcome: FrameOf<'end'>['outcome'], alter: (data: FrameOf<'end'>['data']) => object): Alteration {
  return each('end', (end) => (end.outcome === outcome ? { ...end, data: { ...end.data, ...alter(end.data) } } : end))
}

/** Servers that break one rule each, by the check that must find it. No other check may fail. */
const broken: Record<string, Alteration> = {
  limits: each('welcome', ({ limits: { maxStreams: _, ...limits }, ...rest }) => ({ ...rest, limits })),
  subprotocol: { close: (code) => (code === 4406 ? 1_000 : code) },
  credentials: each('notice', (notice) => (notice.code === 'unauthenticated' ? undefined : notice)),
  origin: { origin: false },
  ping: each('pong', ({ nonce }) => ({ kind: 'pong', nonce: nonce % 2 ** 32 })),
  'text-message': { texts: false },
  'skipped-tags': {
    up(message, { close }) {
      if (message[1]! < 0x60 || message[1]! >= 0x80) return message
      close(4_400)
      return undefined
    },
  },
  'unknown-actor': ends('error', ({ message, ...data }) =>
    String(message).startsWith('unknown actor') ? { ...data, code: 'bad_request' } : {},
  ),
  'end-once': each('end', (end) => (end.outcome === 'done' ? [end, end] : end)),
  failure: ends('error', ({ code }) => (code === 'actor_failed' ? { message: 'Error: verify-secret' } : {})),
  times: each('delta', ({ ts: _, ...delta }) => delta),
  'event-cost': each('event', (event) => ({ ...event, cost: 1 })),
  'credit-limit': each('opened', (opened) => ({ ...opened, credit: opened.credit === 64 ? 164 : opened.credit })),
  'settled-notice': each('notice', (notice) => (notice.code === 'settled' ? undefined : notice)),
  receipt: ends('cancelled', () => ({ note: undefined })),
  'cancel-reasons': ends('cancelled', ({ code }) => ({ code: (code as number) > 7 ? 0 : code })),
  'cancel-unknown-call': each('notice', (notice) => (notice.code === 'not_found' ? undefined : notice)),
  session: each('welcome', (welcome) => ({ ...welcome, known: false })),
  'lanes-at-resume': each('opened', ({ lanes: _, ...opened }) => opened),
  pending: each('opened', ({ pending: _, ...opened }) => opened),
  'input-twice': each('input_ack', (ack) => ({ ...ack, status: ack.status === 'duplicate' ? 'accepted' : ack.status })),
  'slow-reader': { close: (code) => (code === 4430 ? 4429 : code) },
  'start-rate': ends('error', ({ code, details }) => (code === 'rate_limited' ? { details: undefined } : { details })),
  drain: each('goaway', () => undefined),
  'stop-stale': each('notice', (notice) => (notice.code === 'stale' ? undefined : notice)),
}

test.concurrent.each(Object.entries(broken))(
  'a server that breaks the rule of %s fails that check, and no other',
  async (name, alteration) => {
    const failed = failures(await judgedBroken(name, alteration))
    expect(Object.keys(failed), JSON.stringify(failed)).toEqual([name])
  },
)

/** A server that takes other frames in place of those of a client. What is malformed reaches it as it is. */
function takes(alter: (frame: UpFrame) => UpFrame[]): Alteration {
  return {
    up(message) {
      try {
        const frames = decodeUp(message, scanLimits.up).flatMap(alter)
        return frames.length > 0 ? encodeUp(frames) : undefined
      } catch {
        return message
      }
    },
  }
}

/** Servers that break the promises of the protocol: one check at least must name each of them. */
const faithless: Record<string, Alteration> = {
  credit: takes((frame) => (frame.kind === 'start' ? [frame, { kind: 'credit', sid: frame.sid, n: 60 }] : [frame])),
  cancel: takes((frame) => (frame.kind === 'cancel' && !frame.target ? [] : [frame])),
  resume: takes((frame) => {
    if (frame.kind !== 'attach' || frame.after === null) return [frame]
    const { gen: _, ...options } = frame.options
    return [{ ...frame, after: 0, options }]
  }),
  key: takes((frame) => {
    if (frame.kind !== 'start') return [frame]
    const { key: _, ...options } = frame.options
    return [{ ...frame, options }]
  }),
  gate: takes((frame) => {
    if (frame.kind !== 'start') return [frame]
    return [{ ...frame, options: { ...frame.options, policy: 'log' } }]
  }),
  'cancel-call': takes((frame) => {
    if (frame.kind !== 'cancel') return [frame]
    const { target: _, ...cancel } = frame
    return [cancel]
  }),
  'loss-is-no-cancel': takes((frame) => {
    if (frame.kind !== 'start') return [frame]
    return [{ ...frame, options: { ...frame.options, onDetach: 'cancel', detachMs: 1 } }]
  }),
  'slow-reader': {
    down(frames, { sayUp }) {
      for (const frame of frames) if (frame.kind === 'ping') sayUp({ kind: 'pong', nonce: frame.nonce })
      return frames
    },
  },
  'start-rate': ends('error', ({ code }) => (code === 'rate_limited' ? { code: 'overloaded' } : {})),
  items: each('delta', (delta) => ({ ...delta, seq: delta.seq + 1 })),
}

test.concurrent.each(Object.entries(faithless))(
  'a server that breaks the promise of %s fails that check',
  async (name, alteration) => {
    expect(Object.keys(failures(await judgedBroken(name, alteration)))).toContain(name)
  },
)

test.concurrent.each<[string, Alteration]>([
  ['closes with another code', { close: (code) => (code === 4503 ? 4429 : code) }],
  [
    'refuses what is new for another reason',
    ends('error', ({ code }) => (code === 'draining' ? { code: 'overloaded' } : {})),
  ],
  [
    'ends its runs in another way',
    ends('error', ({ code }) => (code === 'interrupted' ? { code: 'actor_failed' } : {})),
  ],
])('a server that goes away, and %s, fails the check of it', async (_, alteration) => {
  expect(Object.keys(failures(await judgedBroken('drain', alteration)))).toEqual(['drain'])
})

test.concurrent('a server that goes away is not judged where nobody can tell it to, or where that fails', async () => {
  await using server = await referenceServer(onWs)
  for (const [drain, reason] of [
    [undefined, /needs --drain/],
    [() => Promise.reject(new Error('no such process')), /could not be told to go away: no such process/],
  ] as const) {
    const { checks } = await judged(server.url, 4_000, ['drain'], drain)
    expect(checks).toMatchObject([{ name: 'drain', status: 'skipped', reason: expect.stringMatching(reason) }])
  }
})

test.concurrent.each<[string, number, (close: Promise<void>) => Promise<void>, object]>([
  ['passes also when what tells it ends only when it has', DRAIN_MS, (closed) => closed, { status: 'passed' }],
  [
    'is not judged when it gives its runs no time',
    0,
    async () => {},
    { status: 'skipped', reason: expect.stringMatching(/gives its runs 0 ms/) },
  ],
])('a server that goes away %s', async (_, drainMs, until, result) => {
  await using server = await referenceServer(onWs)
  const drain = (): Promise<void> => until(server.server.close({ drainMs }))
  expect((await judged(server.url, 4_000, ['drain'], drain)).checks).toMatchObject([{ name: 'drain', ...result }])
})

test.concurrent.each<[string, number, object]>([
  ['a while is judged by its rate of starts', 250, { status: 'passed' }],
  ['long to reach that rate is not', 2_500, { status: 'skipped', reason: expect.stringMatching(/startsPerSec/) }],
])('a server whose runs take %s', async (_, ms, result) => {
  const say = actor({
    async *stream() {
      await new Promise((resolve) => setTimeout(resolve, ms))
      yield ''
    },
  })
  await using server = await testServer({ ...referenceActors, say }, REFERENCE_OPTIONS, onWs)
  const { checks } = await judged(server.url, 4_000, ['start-rate'])
  expect(checks).toMatchObject([{ name: 'start-rate', ...result }])
})

test.concurrent('a server that lets a principal start more runs than it may fails the check of its rate of starts', async () => {
  const { limits, ...options } = REFERENCE_OPTIONS
  const eager = { ...options, limits: { ...limits, startsPerSec: 10_000, startBurst: 10_000 } }
  await using server = await testServer(referenceActors, eager, onWs)
  expect(Object.keys(failures(await judged(server.url, 4_000, ['start-rate'])))).toEqual(['start-rate'])
})
