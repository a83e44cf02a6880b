import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import type { Peer } from './peer.ts'

const { initialCredit, maxCredit, readAhead, creditUnit, maxEvent } = REFERENCE_LIMITS
/** More items than any credit here allows. */
const MANY = { to: 10_000 }
/** Its run does not outlive the check. */
const SHORT_LIVED = { onDetach: 'cancel', detachMs: 1 } as const

export const creditChecks: readonly ServerCheck[] = [
  {
    name: 'credit',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'The server sends items only while the balance is above 0, and CREDIT adds to it.',
    hint: 'Keep a balance for each subscription: what was granted minus the cost of what was sent.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', MANY, { credit: 5, ...SHORT_LIVED })
      await exactly(peer, 5)
      peer.send({ kind: 'credit', sid: 1, n: 3 })
      await exactly(peer, 8)
    },
  },
  {
    name: 'credit-zero',
    level: 'minimal',
    section: 'START',
    rule: 'A credit of 0 is allowed: nothing is sent before the first CREDIT.',
    hint: '0 is not the same as an absent credit.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', MANY, { credit: 0, ...SHORT_LIVED })
      same((await peer.opened(1)).credit, 0, 'the credit of OPENED')
      await exactly(peer, 0)
      peer.send({ kind: 'credit', sid: 1, n: 2 })
      await exactly(peer, 2)
    },
  },
  {
    name: 'credit-default',
    level: 'minimal',
    section: 'START',
    rule: 'A START without credit begins with initialCredit.',
    hint: 'OPENED says the credit accepted.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', MANY, SHORT_LIVED)
      same((await peer.opened(1)).credit, initialCredit, 'the credit of OPENED')
      await exactly(peer, initialCredit)
    },
  },
  {
    name: 'credit-limit',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'A balance is never above maxCredit: the excess is lost.',
    hint: 'Clamp the credit of START and ATTACH, and the balance at each CREDIT.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent', null, { credit: maxCredit + 100, ...SHORT_LIVED })
      same((await peer.opened(1)).credit, maxCredit, 'the credit of OPENED')
      peer.start(2, 'count', MANY, { credit: 0, rate: 0, ...SHORT_LIVED })
      for (let n = 0; n < 3; n++) peer.send({ kind: 'credit', sid: 2, n: maxCredit })
      await peer.settled()
      peer.send({ kind: 'rate', sid: 2, perSec: null })
      await exactly(peer, maxCredit, 2)
    },
  },
  {
    name: 'event-cost',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'An event costs one credit for each creditUnit bytes begun of its encoded data.',
    hint: 'State the cost in EVENT when it is more than 1.',
    async run(bench) {
      await using peer = await bench.connect()
      // The data are a little larger than their value: half a unit more leaves room for every format.
      const size = creditUnit * 10
      peer.start(1, 'events', { sizes: [size] }, { credit: maxCredit })
      await peer.next('end', 1)
      same((await peer.next('event', 1)).cost, 11, `the cost of an event with a value of ${size} bytes`)
    },
  },
  {
    name: 'overdraft',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'One item may cost more than the balance. Then nothing is sent until the balance is above 0 again.',
    hint: 'The balance may fall below 0 by one item, so that a client knows how much it may have to hold.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'events', { sizes: [1, creditUnit * 10, 1] }, { credit: 2, ...SHORT_LIVED })
      await exactly(peer, 2)
      // 2 - 1 - 11 = -10.
      peer.send({ kind: 'credit', sid: 1, n: 10 })
      await exactly(peer, 2)
      peer.send({ kind: 'credit', sid: 1, n: 1 })
      await exactly(peer, 3)
    },
  },
  {
    name: 'large-event',
    level: 'minimal',
    section: 'Items',
    rule: 'An event larger than maxEvent ends the run with bad_event.',
    hint: 'Check the data when it is logged, and never send it.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'events', { sizes: [maxEvent + 1] }, { credit: maxCredit })
      const { outcome, data } = await peer.next('end', 1)
      same([outcome, data['code']], ['error', 'bad_event'], 'the outcome and code of END')
    },
  },
  {
    name: 'settled-notice',
    level: 'minimal',
    section: 'An END behind credit',
    rule: 'When the items of an ended run wait for credit, NOTICE settled says once that it has ended and how.',
    hint: 'END comes behind all items. A client that wants the rest grants credit.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 6 }, { credit: 4 })
      await peer.untilCount(1, 4)
      const { code, ref } = await peer.next('notice')
      same([code, ref?.sid, ref?.detail], ['settled', 1, 0], 'the code, sid and outcome of NOTICE')
      await peer.quiet()
      must(!peer.frames.some(({ kind }) => kind === 'end'), 'no END before the last item', 'END')
      peer.send({ kind: 'credit', sid: 1, n: 4 })
      same((await peer.next('end', 1)).seq, 7, 'the number of END')
      await exactly(peer, 6)
    },
  },
  {
    name: 'gate',
    level: 'minimal',
    section: 'Gate',
    rule: 'An actor waits while its log is readAhead items beyond what its pacing reader may be sent.',
    hint: 'Slow means slow: do not ask an actor for its next item while the gate is closed.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', MANY, { credit: 5, ...SHORT_LIVED })
      const { run } = await peer.opened(1)
      await exactly(peer, 5)
      await logged(peer, run, 5 + readAhead)
      peer.send({ kind: 'credit', sid: 1, n: 20 })
      await exactly(peer, 25)
      await logged(peer, run, 25 + readAhead)
    },
  },
  {
    name: 'pause',
    level: 'minimal',
    section: 'Rates',
    rule: 'A run that was started with rate 0 produces nothing until RATE lifts the pause.',
    hint: 'The rate of a pacing reader holds the actor back, without readAhead.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', MANY, { credit: 8, rate: 0, ...SHORT_LIVED })
      const { run } = await peer.opened(1)
      await exactly(peer, 0)
      await logged(peer, run, 0)
      peer.send({ kind: 'rate', sid: 1, perSec: null })
      await exactly(peer, 8)
    },
  },
  {
    name: 'rate',
    level: 'minimal',
    section: 'Rates',
    rule: 'A rate allows perSec items a second, with bursts of a tenth of that.',
    hint: 'It does not replace credit: both must allow an item.',
    async run(bench) {
      await using peer = await bench.connect()
      const perSec = 20
      peer.start(1, 'count', MANY, { credit: maxCredit, rate: perSec, ...SHORT_LIVED })
      await peer.opened(1)
      const begun = performance.now()
      await peer.untilCount(1, 12)
      const ms = Math.round(performance.now() - begun)
      // 2 at once, and 10 at 20 a second. Nothing slow can make a correct server faster.
      must(ms >= 400, `12 items in no less than 400 ms at ${perSec} a second`, `${ms} ms`)
    },
  },
  {
    name: 'message-rate',
    level: 'minimal',
    section: 'Limits of a connection',
    rule: 'A connection that sends more messages than messagesPerSec is closed with 4429.',
    hint: 'Messages that answer what the server sent, such as CREDIT, are allowed in addition.',
    async run(bench) {
      await using peer = await bench.connect()
      for (let nonce = 0; nonce < 4_000; nonce++) peer.send({ kind: 'ping', nonce })
      await peer.closesWith([4429, 1006], 'for 4,000 messages at once')
    },
  },
]

/** As many items of a stream come, and no more. */
async function exactly(peer: Peer, count: number, sid = 1): Promise<void> {
  await peer.untilCount(sid, count)
  await peer.quiet()
  const came = peer.count(sid)
  must(came === count, `${count} items of stream ${sid} and no more`, `${came} items`)
}

/** How often the length of a log is asked for until it has grown to what it must be. */
const LOOKS = 10

/** As many items of a run are logged, which a reader learns that attaches at its end. */
async function logged(peer: Peer, run: string, count: number): Promise<void> {
  let came = -1
  for (let look = 0; look < LOOKS && came < count; look++) {
    if (look > 0) await peer.quiet()
    const sid = 2 + peer.frames.filter(({ kind }) => kind === 'opened').length
    peer.attach(sid, run, null, { credit: 0 })
    came = (await peer.opened(sid)).next - 1
    peer.send({ kind: 'detach', sid })
  }
  must(came === count, `a log of ${count} items`, `one of ${came} items`)
}
