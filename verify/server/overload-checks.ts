import type { End } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { frameWords } from '../frame-words.ts'
import { must, NotJudged, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import type { Peer } from './peer.ts'

const { inflight, slowMs, maxDown, maxCredit, creditUnit, maxStreams } = REFERENCE_LIMITS
const { startsPerSec, startBurst } = DEFAULT_LIMITS
/** How much sooner than its time a timer may fire. */
const EARLY_MS = 50

/** Events that are twice as much as may be under way. */
const EVENT_BYTES = 3_900
const EVENTS = Math.ceil((2 * (inflight + maxDown)) / EVENT_BYTES)
const EVENT_COST = Math.ceil((EVENT_BYTES + creditUnit) / creditUnit)

/** Connections that open streams at the same time: enough to meet the limit also where each answer takes a second. */
const OPENERS = 12
/** A sid above all that were used before the refusal. */
const AFTER_SID = 1_000_000

export const overloadChecks: readonly ServerCheck[] = [
  {
    name: 'slow-reader',
    level: 'resume',
    section: 'Bytes in flight',
    rule: 'A client that answers no PING gets no more items than fit into inflight, is closed with 4430 after slowMs, and comes back without loss.',
    hint: 'Add a PING after each inflight bytes. Those written beyond the last one that was answered are in flight.',
    async run(bench) {
      await using peer = await bench.connect({ pong: false })
      const begun = performance.now()
      peer.start(1, 'events', { sizes: Array.from({ length: EVENTS }, () => EVENT_BYTES) }, { credit: maxCredit })
      const { run, gen } = await peer.opened(1)
      const close = 'a close with 4430, because no PING was answered'
      await read(peer, () => peer.closeCode !== undefined, close, slowMs + bench.patienceMs)
      await peer.closesWith([4430], 'because no PING was answered')
      const ms = performance.now() - begun
      must(ms >= slowMs - EARLY_MS, `a close no sooner than after ${slowMs} ms`, `one after ${Math.round(ms)} ms`)
      const before = peer.items(1)
      const most = Math.floor((inflight + maxDown) / EVENT_BYTES)
      must(before.length <= most, `at most ${most} events of ${EVENT_BYTES} bytes in flight`, String(before.length))
      await using back = await bench.connect({ client: peer.client, attempt: 2 })
      back.attach(1, run, before.at(-1)?.seq ?? 0, { credit: maxCredit, gen })
      const isOver = (): boolean => back.frames.some((frame) => frame.kind === 'end' && frame.sid === 1)
      await read(back, isOver, 'END of stream 1', bench.patienceMs)
      same((await back.next('end', 1)).outcome, 'done', 'the outcome')
      const numbers = [...before, ...back.items(1)].map(({ seq }) => seq)
      same(
        numbers,
        Array.from({ length: EVENTS }, (_, i) => i + 1),
        'the numbers of the items on both connections',
      )
    },
  },
  {
    name: 'start-rate',
    level: 'full',
    section: 'Opening',
    rule: 'A principal that opens streams faster than startsPerSec is refused with rate_limited once startBurst is used up, and let in after details.afterMs.',
    hint: 'A bucket that holds startBurst and fills by startsPerSec. Each START and each ATTACH takes one out.',
    isAlone: true,
    async run(bench) {
      const peers: Peer[] = []
      try {
        while (peers.length < OPENERS) peers.push(await bench.connect())
        const { data } = await firstRefusal(peers, bench.patienceMs)
        same([data.code, data.retryable], ['rate_limited', true], 'code and retryable of the refusal')
        const afterMs = (data.details as { afterMs?: unknown } | undefined)?.afterMs
        must(typeof afterMs === 'number' && afterMs > 0, 'details.afterMs, in milliseconds', JSON.stringify(data))
        await bench.pause(afterMs + EARLY_MS)
        const [end] = await open(peers[0]!, AFTER_SID, 1)
        must(end?.seq !== 0, `a run ${afterMs} ms after the refusal`, frameWords(end!))
      } finally {
        await Promise.all(peers.map((peer) => peer[Symbol.asyncDispose]()))
        // Whoever comes next finds some of it again, also after a failure.
        await bench.pause((maxStreams / startsPerSec) * 1_000)
      }
    },
  },
]

/** Opens as many streams as it may at all of them, again and again, until one is refused. */
async function firstRefusal(peers: readonly Peer[], patienceMs: number): Promise<End> {
  const begun = performance.now()
  for (let times = 1; ; times++) {
    const first = 1 + (times - 1) * maxStreams
    const ends = await Promise.all(peers.map((peer) => open(peer, first, maxStreams)))
    const refused = ends.flat().find(({ seq }) => seq === 0)
    if (refused) return refused
    const ms = performance.now() - begun
    const starts = times * peers.length * maxStreams
    const most = Math.ceil(startBurst + (ms / 1_000) * startsPerSec)
    must(starts <= most, `at most ${most} STARTs within ${Math.round(ms)} ms`, `${starts} that were not refused`)
    if (ms > patienceMs)
      throw new NotJudged(`${starts} STARTs took ${Math.round(ms)} ms: too long for startsPerSec to be reached`)
  }
}

/** Opens streams whose runs say nothing, and waits for their ends. */
async function open(peer: Peer, first: number, count: number): Promise<End[]> {
  const sids = Array.from({ length: count }, (_, n) => first + n)
  for (const sid of sids) peer.start(sid, 'say', { texts: [] })
  return await Promise.all(sids.map((sid) => peer.next('end', sid)))
}

/** Reads events, and returns the credit of each, until `isOver`. */
async function read(peer: Peer, isOver: () => boolean, what: string, patienceMs: number): Promise<void> {
  for (let returned = 0; !isOver(); ) {
    await peer.until(() => isOver() || peer.count(1) > returned, what, patienceMs)
    for (; returned < peer.count(1); returned++) peer.send({ kind: 'credit', sid: 1, n: EVENT_COST })
  }
}
