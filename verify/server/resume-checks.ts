import { EVENT } from '../../protocol/events.ts'
import type { Gap } from '../../protocol/frames.ts'
import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerBench, ServerCheck } from './bench.ts'
import type { Peer } from './peer.ts'

const { readAhead, retainEvents, maxCredit } = REFERENCE_LIMITS

export const resumeChecks: readonly ServerCheck[] = [
  {
    name: 'resume',
    level: 'resume',
    section: 'Resume a stream',
    rule: 'A client that attaches behind the last item that arrived gets every further item once, in order.',
    hint: 'The log outlives the connection: number, keep and send from there.',
    async run(bench) {
      const to = 60
      const peer = await bench.connect()
      peer.start(1, 'count', { to }, { credit: 10 })
      const { run, gen } = await peer.opened(1)
      await peer.untilCount(1, 10)
      await peer.cut()
      await using back = await bench.connect({ client: peer.client, attempt: 2 })
      back.attach(1, run, 10, { gen, policy: 'pace', credit: maxCredit })
      same((await back.opened(1)).next, 11, 'next of OPENED')
      const end = await back.next('end', 1)
      const seqs = [...peer.items(1), ...back.items(1)].map(({ seq }) => seq)
      same(
        seqs,
        Array.from({ length: to }, (_, n) => n + 1),
        'the numbers of all items',
      )
      same(end.seq, to + 1, 'the number of END')
    },
  },
  {
    name: 'every-position',
    level: 'resume',
    section: 'Resume a stream',
    rule: 'An ended run can be read from every position, with the same items and the same END.',
    hint: 'Position 0 is before item 1; behind the last item there is only END.',
    async run(bench) {
      await using peer = await bench.connect()
      const texts = ['a', 'b', 'c', 'd']
      peer.start(1, 'say', { texts })
      const { run, gen } = await peer.opened(1)
      const end = await peer.next('end', 1)
      for (let after = 0; after <= texts.length; after++) {
        const sid = after + 2
        peer.attach(sid, run, after, after > 0 ? { gen } : {})
        const again = await peer.next('end', sid)
        same([again.seq, again.outcome, again.data], [end.seq, end.outcome, end.data], `END behind item ${after}`)
        same(peer.text(sid), texts.slice(after).join(''), `the text behind item ${after}`)
      }
    },
  },
  {
    name: 'attach-live',
    level: 'resume',
    section: 'ATTACH',
    rule: 'With after nil a reader begins with the next item.',
    hint: 'The next of OPENED is the number behind the last item of the log.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'echo')
      const { run } = await peer.opened(1)
      message(peer, 'old')
      await peer.untilCount(1, 1)
      await using other = await bench.connect()
      other.attach(1, run, null)
      same((await other.opened(1)).next, 2, 'next of OPENED')
      message(peer, 'new')
      await other.untilCount(1, 1)
      same(other.text(1), 'new', 'the text')
      peer.send({ kind: 'cancel', sid: 1 })
      await peer.next('end', 1)
    },
  },
  {
    name: 'unknown-run',
    level: 'resume',
    section: 'Opening',
    rule: 'An ATTACH to a run that does not exist is refused with not_found.',
    hint: 'The refusal is END with seq 0 and outcome 1.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.attach(1, 'r_verify_no_such_run', 0)
      same((await peer.refusal(1, 'not_found')).data['retryable'], false, 'retryable')
    },
  },
  {
    name: 'beyond-the-log',
    level: 'resume',
    section: 'Lives of a log',
    rule: 'For a position beyond the end of the log the server sends GAP 2, whose next is the oldest item kept.',
    hint: 'The store may have lost the end of the log: say so, and begin again.',
    async run(bench) {
      const { peer, run, gen } = await ended(bench)
      await using _ = peer
      peer.attach(2, run, 50, { gen })
      await gapTo(peer, 2, 'store_lost', 1)
      await peer.next('end', 2)
      same(peer.text(2), 'abc', 'the text behind the GAP')
    },
  },
  {
    name: 'unknown-gen',
    level: 'resume',
    section: 'Lives of a log',
    rule: 'For a gen that the log does not know the server sends GAP 2, also with after 0.',
    hint: 'A position is not a number but a pair, (gen, seq).',
    async run(bench) {
      const { peer, run } = await ended(bench)
      await using _ = peer
      for (const [sid, after] of [
        [2, 2],
        [3, 0],
      ] as const) {
        peer.attach(sid, run, after, { gen: 999 })
        await gapTo(peer, sid, 'store_lost', 1)
        await peer.next('end', sid)
        same(peer.text(sid), 'abc', `the text behind the GAP of position (999, ${after})`)
      }
    },
  },
  {
    name: 'retention',
    level: 'resume',
    section: 'Resume a stream',
    rule: 'A reader whose next item is no longer kept begins with GAP 0.',
    hint: 'A log keeps its newest retainEvents items. No item may be missing without a GAP.',
    async run(bench) {
      await using peer = await bench.connect()
      const to = retainEvents * 3
      peer.start(1, 'count', { to }, { policy: 'log', credit: 1 })
      const { run } = await peer.opened(1)
      await peer.quiet()
      peer.attach(2, run, 0, { credit: maxCredit })
      const { next } = await peer.opened(2)
      const gap = await peer.next('gap', 2)
      same([gap.reason, gap.next], ['retention', next], 'reason and next of GAP')
      must(next > 1 && next <= to, 'an item that is kept', String(next))
      for (let end = false; !end; ) {
        peer.send({ kind: 'credit', sid: 2, n: maxCredit })
        await peer.quiet()
        end = peer.frames.some((frame) => frame.kind === 'end' && frame.sid === 2)
      }
      const seqs = peer.items(2).map(({ seq }) => seq)
      same(
        seqs,
        Array.from({ length: to - next + 1 }, (_, n) => next + n),
        'the numbers of the items behind the GAP',
      )
    },
  },
  {
    name: 'start-again',
    level: 'resume',
    section: 'Keys',
    rule: 'A START whose answer was lost can be repeated on another connection: it attaches to the same run.',
    hint: 'The key is that of the principal, and not of the connection.',
    async run(bench) {
      const key = `again-${Math.random()}`
      const peer = await bench.connect()
      peer.start(1, 'count', { to: 20 }, { key, credit: 4 })
      const { run } = await peer.opened(1)
      await peer.untilCount(1, 4)
      await peer.cut()
      await using back = await bench.connect({ client: peer.client, attempt: 2 })
      back.start(1, 'count', { to: 20 }, { key, credit: maxCredit })
      const again = await back.opened(1)
      same({ run: again.run, reused: again.reused, next: again.next }, { run, reused: true, next: 1 }, 'OPENED')
      await back.next('end', 1)
      same(back.count(1), 20, 'the number of items')
    },
  },
  {
    name: 'session',
    level: 'resume',
    section: 'Sessions and take-over',
    rule: 'A client instance that comes back with a live run finds its session: known is true.',
    hint: 'A session is the pair of a principal and a client, kept for resumeMs.',
    async run(bench) {
      const peer = await bench.connect()
      peer.start(1, 'silent', null, { onDetach: 'cancel', detachMs: 1_000 })
      await peer.opened(1)
      await peer.cut()
      await using back = await bench.connect({ client: peer.client, attempt: 2 })
      must(
        back.frames.some((frame) => frame.kind === 'welcome' && frame.known),
        'known true',
        'known false',
      )
    },
  },
  {
    name: 'take-over',
    level: 'resume',
    section: 'Sessions and take-over',
    rule: 'A higher attempt takes the session over: the old socket is closed with 4409.',
    hint: 'Close the old socket when the credentials of the new one are accepted.',
    async run(bench) {
      await using old = await bench.connect()
      await using fresh = await bench.connect({ client: old.client, attempt: 2 })
      await old.closesWith([4409], 'of the socket that was taken over')
      await fresh.settled()
    },
  },
  {
    name: 'late-attempt',
    level: 'resume',
    section: 'Sessions and take-over',
    rule: 'An attempt that is not higher is a late duplicate: the new socket is closed with 4409, and nothing else changes.',
    hint: 'Compare it with the highest attempt of the session.',
    async run(bench) {
      await using peer = await bench.connect({ attempt: 5 })
      for (const attempt of [5, 4]) {
        await using late = await bench.connect({ client: peer.client, attempt, hello: 'unanswered' })
        await late.closesWith([4409], `for attempt ${attempt} behind attempt 5`)
        must(!late.frames.some(({ kind }) => kind === 'welcome'), 'no WELCOME', 'WELCOME')
      }
      await peer.settled()
    },
  },
  {
    name: 'detached-pause',
    level: 'resume',
    section: 'Detached runs',
    rule: 'A detached run with onDetach "pause" goes on until the gate closes, and not further.',
    hint: 'The position and balance of the pacing reader that left last decide.',
    async run(bench) {
      const peer = await bench.connect()
      peer.start(1, 'count', { to: 10_000 }, { credit: 5 })
      const { run } = await peer.opened(1)
      await peer.untilCount(1, 5)
      await peer.cut()
      await bench.pause(300)
      await using back = await bench.connect()
      back.attach(1, run, null, { credit: 0 })
      same((await back.opened(1)).next, 5 + readAhead + 1, 'the number behind the last item of the log')
      back.send({ kind: 'cancel', sid: 1 })
      await back.next('end', 1)
    },
  },
  {
    name: 'detached-continue',
    level: 'resume',
    section: 'Detached runs',
    rule: 'A detached run with onDetach "continue" goes on without a gate.',
    hint: 'Its log is kept within retention.',
    async run(bench) {
      const to = retainEvents - 10
      const peer = await bench.connect()
      peer.start(1, 'count', { to }, { credit: 5, onDetach: 'continue' })
      const { run, gen } = await peer.opened(1)
      await peer.untilCount(1, 5)
      await peer.cut()
      await bench.pause(500)
      await using back = await bench.connect()
      back.attach(1, run, 5, { gen, credit: maxCredit })
      await back.untilCount(1, maxCredit)
      back.send({ kind: 'credit', sid: 1, n: maxCredit })
      same((await back.next('end', 1)).seq, to + 1, 'the number of END')
    },
  },
  {
    name: 'lanes-at-resume',
    level: 'resume',
    section: 'OPENED',
    rule: 'OPENED lists the lanes that are open just before next, with the data of their lane.start.',
    hint: 'A reader that begins in the middle must know what a text is.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'think')
      const { run, gen } = await peer.opened(1)
      await peer.next('end', 1)
      const start = peer.items(1).find(({ type }) => type === EVENT.laneStart)
      must(start !== undefined, 'a lane.start', 'none')
      peer.attach(2, run, start.seq, { gen })
      const { lanes = [] } = await peer.opened(2)
      const { lane } = start.data as { lane: number }
      same(
        lanes.map(([number, data]) => [number, data['type']]),
        [[lane, 'thinking']],
        'the lanes of OPENED',
      )
      peer.attach(3, run, start.seq - 1, start.seq > 1 ? { gen } : {})
      same((await peer.opened(3)).lanes ?? [], [], 'no lanes before the first one')
    },
  },
  {
    name: 'pending',
    level: 'resume',
    section: 'OPENED',
    rule: 'OPENED lists the requests before next that have no answer.',
    hint: 'A page that was reloaded must show what it is asked.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'ask')
      const { run } = await peer.opened(1)
      await peer.until(() => peer.items(1).some(({ type }) => type === EVENT.inputRequest), 'input.request')
      const { request } = peer.items(1).find(({ type }) => type === EVENT.inputRequest)!.data as { request: string }
      await using other = await bench.connect()
      other.attach(1, run, null)
      const { pending = [] } = await other.opened(1)
      same(
        pending.map((one) => one['request']),
        [request],
        'the pending requests',
      )
      other.send({ kind: 'input', sid: 1, mid: 'a', type: 'answer', data: { request, value: 'Ada' } })
      await peer.next('end', 1)
      same(peer.text(1), 'hello Ada', 'the text behind the answer')
    },
  },
  {
    name: 'observer',
    level: 'resume',
    section: 'Policies',
    rule: 'A reader that does not pace slows nobody.',
    hint: 'ATTACH reads with `log` by default: the gate does not look at it.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 60 }, { credit: 1 })
      const { run } = await peer.opened(1)
      await using other = await bench.connect()
      other.attach(1, run, 0, { credit: 0 })
      await other.opened(1)
      peer.send({ kind: 'credit', sid: 1, n: 60 })
      same((await peer.next('end', 1)).seq, 61, 'the number of END')
      same(other.count(1), 0, 'the number of items of the observer without credit')
    },
  },
]

/** A run that has said "abc". */
async function ended(bench: ServerBench): Promise<{ peer: Peer; run: string; gen: number }> {
  const peer = await bench.connect()
  peer.start(1, 'say', { texts: ['a', 'b', 'c'] })
  const { run, gen } = await peer.opened(1)
  await peer.next('end', 1)
  return { peer, run, gen }
}

async function gapTo(peer: Peer, sid: number, reason: Gap['reason'], next: number): Promise<void> {
  const frame = await peer.find(
    (one): one is Gap => ['gap', 'end'].includes(one.kind) && 'sid' in one && one.sid === sid,
    `GAP of stream ${sid}`,
  )
  must(frame.kind === 'gap', `GAP of stream ${sid}`, frameWords(frame))
  same([frame.reason, frame.next], [reason, next], 'reason and next of GAP')
}

function message(peer: Peer, data: string): void {
  peer.send({ kind: 'input', sid: 1, mid: `${data}-${Math.random()}`.slice(0, 32), type: 'message', data })
}
