import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { comesBack, completes, done, type Reading, reading, texts } from './scenario.ts'
import { RUN } from './seat.ts'
import { type ClientCheck, type Stage, WINDOW } from './stage.ts'

/** How much sooner than its time a timer may fire. */
const EARLY_MS = 50
/** When a refused START may come again, in milliseconds: later than a first try that minds no time would. */
const AFTER_MS = 1_500

export const resumeChecks: readonly ClientCheck[] = [
  {
    name: 'resume',
    level: 'resume',
    section: 'Reconnecting',
    rule: 'After a loss the client reconnects as the same instance, and attaches behind the last item that arrived.',
    hint: 'HELLO has the same client and a higher attempt; ATTACH has the run, the position and its gen.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a', 'b', 'c'))
      await stage.said('abc')
      const first = seat.all('hello')[0]!
      seat.cut()
      const back = await stage.seat()
      const hello = await back.greet({ known: true })
      must(Buffer.compare(first.client, hello.client) === 0, 'the same client in HELLO', frameWords(hello))
      must(hello.attempt > first.attempt, `an attempt above ${first.attempt}`, String(hello.attempt))
      const attach = await back.reopen()
      same([attach.run, attach.after, attach.options.gen], [RUN, 3, 1], 'run, after and gen of ATTACH')
      same(attach.options.policy, 'pace', 'the policy of ATTACH, as a starter reads')
      back.send(texts(attach.sid, 4, 'd'), done(attach.sid, 5))
      await completes(stage, 'abcd')
    },
  },
  {
    name: 'start-again',
    level: 'resume',
    section: 'Keys',
    rule: 'A START whose answer was lost is repeated with the same key and the same input.',
    hint: 'Make a random key for each start. The server finds the run by it.',
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      await seat.greet()
      const start = await seat.next('start')
      seat.cut()
      const back = await stage.seat()
      await back.greet()
      const again = await back.open()
      const facts = ({ actor, input, options }: typeof start): unknown => [actor, input, keyWords(options.key)]
      must(start.options.key !== undefined, 'a key', 'none')
      same(facts(again), facts(start), 'actor, input and key of the second START')
      back.send(texts(again.sid, 1, 'a'), done(again.sid, 2))
      await completes(stage, 'a')
    },
  },
  {
    name: 'close-codes',
    level: 'resume',
    section: 'Close codes',
    rule: 'After a close that says "resume" the client comes back.',
    hint: '1001, 1011, 1012, 1013, 4408, 4429, 4430, 4503, and every unknown code outside of 4400 to 4499.',
    async run(bench) {
      await Promise.all(
        [1012, 4430, 4503, 4999].map(async (code) => {
          await using run = await reading(bench)
          run.seat.close(code)
          await resumed(run)
        }),
      )
    },
  },
  {
    name: 'stop-codes',
    level: 'resume',
    section: 'Close codes',
    rule: 'After a close that says "stop" every stream ends, and the client stays away.',
    hint: '1000, 4400, 4403, 4406, 4409 behind a WELCOME, 4413, and unknown codes from 4400 to 4499.',
    async run(bench) {
      await Promise.all(
        [1000, 4400, 4409, 4499].map(async (code) => {
          await using run = await reading(bench)
          run.seat.close(code)
          same((await run.stage.end()).end, 'error', `the end that the client printed for a close with ${code}`)
          await run.stage.staysAway()
        }),
      )
    },
  },
  {
    name: 'known-items',
    level: 'resume',
    section: "The client's state table",
    rule: 'Items that have arrived before are dropped, and their cost is returned.',
    hint: 'Of an array that begins at a known item, drop the known elements and keep the others.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a', 'b', 'c'))
      await stage.said('abc')
      seat.send(texts(sid, 1, 'a', 'b', 'c', 'd'), texts(sid, 4, 'd'))
      await seat.until(() => seat.credit >= 5, 'CREDIT of at least 5, of a cost of 8')
      seat.send(texts(sid, 5, 'e'), done(sid, 6))
      await completes(stage, 'abcde')
    },
  },
  {
    name: 'gap',
    level: 'resume',
    section: 'GAP',
    rule: 'A GAP tells the consumer which items will not come, and the stream goes on at its next.',
    hint: 'It costs no credit.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a'), { kind: 'gap', sid, from: 2, next: 50, reason: 'retention' })
      seat.send(texts(sid, 50, 'z'), done(sid, 51))
      await completes(stage, 'az')
      await reportsGap(stage, 50, 'retention')
    },
  },
  {
    name: 'rewound',
    level: 'resume',
    section: 'GAP',
    rule: 'A GAP whose next has arrived already voids the items from there on, and they come again.',
    hint: 'Items that were consumed are reported as rewound; those in the queue are dropped.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a', 'b', 'c'))
      await stage.said('abc')
      seat.send({ kind: 'gap', sid, from: 2, next: 2, reason: 'rewound', gen: 2 }, texts(sid, 2, 'B'), done(sid, 3))
      await completes(stage, 'abcB')
      await reportsGap(stage, 2, 'rewound')
    },
  },
  {
    name: 'rewound-queue',
    level: 'resume',
    section: "The client's state table",
    rule: 'Items that a GAP voids before the consumer has read them are never read.',
    hint: 'Take them out of the queue, and add their cost to what is owed.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!hold', 'b', 'c', 'd'))
      await stage.said('!hold')
      seat.send({ kind: 'gap', sid, from: 2, next: 2, reason: 'rewound', gen: 2 }, texts(sid, 2, 'B'), done(sid, 3))
      await seat.quiet()
      stage.goOn()
      await completes(stage, '!holdB')
    },
  },
  {
    name: 'gen',
    level: 'resume',
    section: 'Lives of a log',
    rule: 'A position is a pair: after a GAP with a new gen, ATTACH names that gen.',
    hint: 'The GAP comes even when nothing is missing or void.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a'), { kind: 'gap', sid, from: 2, next: 2, reason: 'rewound', gen: 3 })
      seat.send(texts(sid, 2, 'b'))
      await stage.said('ab')
      seat.cut()
      const { back, attach } = await comesBack(stage, 3)
      same([attach.after, attach.options.gen], [2, 3], 'after and gen of ATTACH')
      back.send(done(attach.sid, 3))
      await completes(stage, 'ab')
    },
  },
  {
    name: 'missing-items',
    level: 'resume',
    section: "The client's state table",
    rule: 'An item that is not the next one is a fault: the client closes with 4420 and resumes.',
    hint: 'Never read over a hole that no GAP has reported.',
    async run(bench) {
      await using run = await reading(bench)
      run.seat.send(texts(run.sid, 1, 'a'), texts(run.sid, 3, 'c'))
      same(await run.seat.closed(), 4_420, 'the close code')
      await resumed(run, 1)
    },
  },
  {
    name: 'missing-end',
    level: 'resume',
    section: "The client's state table",
    rule: 'An END that is not behind the last item is a fault: the client closes with 4420 and resumes.',
    hint: 'Items are missing before it.',
    async run(bench) {
      await using run = await reading(bench)
      run.seat.send(texts(run.sid, 1, 'a'), done(run.sid, 5))
      same(await run.seat.closed(), 4_420, 'the close code')
      await resumed(run, 1)
    },
  },
  {
    name: 'overdraft',
    level: 'resume',
    section: "The client's state table",
    rule: 'More than the credit allows is a fault: the client closes with 4420 and resumes.',
    hint: 'Compare the cost of a frame with the balance, before it is put into the queue.',
    async run(bench) {
      await using run = await reading(bench)
      run.seat.send(texts(run.sid, 1, ...Array.from({ length: WINDOW * 3 }, () => 'x')))
      same(await run.seat.closed(), 4_420, 'the close code')
      await resumed(run, 0)
    },
  },
  {
    name: 'second-fault',
    level: 'resume',
    section: "The client's state table",
    rule: 'The second fault in the life of a stream ends it with internal, and DETACH is sent.',
    hint: 'Resume once: the server would make the same fault for ever.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 3, 'c'))
      await seat.closed()
      const { back, attach } = await comesBack(stage)
      back.send(texts(attach.sid, 3, 'c'))
      await back.next('detach')
      same((await stage.end()).code, 'internal', 'the code of the end that the client printed')
    },
  },
  {
    name: 'goaway',
    level: 'resume',
    section: 'A server that goes away',
    rule: 'Between GOAWAY and the close the client reads on. After the close it comes back.',
    hint: 'Runs go on until they end or the server closes. There is nothing to do at GOAWAY itself.',
    async run(bench) {
      await using run = await reading(bench)
      run.seat.send({ kind: 'goaway', reason: 'shutdown', graceMs: 10_000 })
      run.seat.send(texts(run.sid, 1, 'a'))
      await run.stage.said('a')
      run.seat.close(4503)
      await resumed(run, 1)
    },
  },
  {
    name: 'retry-after',
    level: 'resume',
    section: 'Reconnecting',
    rule: 'The client does not come back sooner than retryAfterMs of the last GOAWAY.',
    hint: 'The server is going away, and many clients would come at once.',
    async run(bench) {
      await using run = await reading(bench)
      // A client that is at once back is so within the time in which it has started, however slow the machine is.
      const waitMs = Math.round(Math.max(1_500, 2 * run.stage.startMs))
      const begun = performance.now()
      run.seat.send({ kind: 'goaway', reason: 'shutdown', graceMs: 100, retryAfterMs: waitMs })
      run.seat.close(4503)
      await run.stage.seat(waitMs)
      const ms = Math.round(performance.now() - begun)
      must(ms >= waitMs - EARLY_MS, `a connection no sooner than after ${waitMs} ms`, `one after ${ms} ms`)
    },
  },
  {
    name: 'refused-resume',
    level: 'resume',
    section: "The client's state table",
    rule: 'A retryable refusal of a stream that was open before is tried again.',
    hint: 'After a backoff, on the same connection or with the next one.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, 'a'))
      await stage.said('a')
      seat.cut()
      const back = await stage.seat()
      await back.greet()
      const attach = await back.next('attach')
      const data = { code: 'store_unavailable', message: 'later', retryable: true }
      back.send({ kind: 'end', sid: attach.sid, seq: 0, outcome: 'error', data })
      const again = await back.reopen()
      must(again.sid > attach.sid, `a sid above ${attach.sid}`, String(again.sid))
      back.send(done(again.sid, 2))
      await completes(stage, 'a')
    },
  },
  {
    name: 'rate-limited',
    level: 'resume',
    section: "The client's state table",
    rule: 'A START that is refused with rate_limited is sent again, no sooner than after details.afterMs.',
    hint: 'The refusal began nothing, and is no end of the run.',
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      await seat.greet()
      const { sid } = await seat.next('start')
      const begun = performance.now()
      const data = { code: 'rate_limited', message: 'too many', retryable: true, details: { afterMs: AFTER_MS } }
      seat.send({ kind: 'end', sid, seq: 0, outcome: 'error', data })
      const again = await seat.open()
      const ms = Math.round(performance.now() - begun)
      must(ms >= AFTER_MS - EARLY_MS, `a START no sooner than after ${AFTER_MS} ms`, `one after ${ms} ms`)
      must(again.sid > sid, `a sid above ${sid}`, String(again.sid))
      seat.send(texts(again.sid, 1, 'a'), done(again.sid, 2))
      await completes(stage, 'a')
    },
  },
  {
    name: 'credit-at-resume',
    level: 'resume',
    section: "The client's state table",
    rule: 'The credit to ask for at a resume is the window minus what waits in the queue, and it is not returned again.',
    hint: 'It includes what was owed.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!hold', 'b', 'c', 'd', 'e', 'f'))
      await stage.said('!hold')
      await seat.quiet()
      seat.cut()
      const { back, attach } = await comesBack(stage)
      const { credit = 0 } = attach.options
      // Five wait. A client whose application takes an item before it has read it counts one less.
      must(credit >= WINDOW - 5 && credit <= WINDOW - 4, `a credit of ${WINDOW - 5}`, String(credit))
      stage.goOn()
      await stage.said('!holdbcdef')
      await back.quiet()
      must(back.credit + credit <= WINDOW, `CREDIT of at most ${WINDOW - credit}`, String(back.credit))
      back.send(done(attach.sid, 7))
      await completes(stage, '!holdbcdef')
    },
  },
]

/** The client comes back and attaches behind item `after`, and reads the rest. */
async function resumed({ stage }: Reading, after = 0): Promise<void> {
  const { back, attach } = await comesBack(stage)
  same([attach.run, attach.after], [RUN, after], 'run and after of ATTACH')
  back.send(done(attach.sid, after + 1))
  same((await stage.end()).end, 'done', 'the end that the client printed')
}

/** The client has printed this gap. */
async function reportsGap(stage: Stage, next: number, reason: string): Promise<void> {
  const { gap } = await stage.line((line) => line.gap !== undefined, '{"gap": ...}')
  same([gap?.next, gap?.reason], [next, reason], 'next and reason of the gap that the client printed')
}

function keyWords(key: Uint8Array | string | undefined): string {
  return typeof key === 'string' ? key : Buffer.from(key ?? []).toString('hex')
}
