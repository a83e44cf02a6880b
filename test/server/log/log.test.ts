import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { costOf } from '../../../protocol/credit.ts'
import { EVENT } from '../../../protocol/events.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { Cursor } from '../../../server/log/cursor.ts'
import { Log } from '../../../server/log/log.ts'
import { packPayload, unpackAll } from '../../../server/log/payload.ts'
import { eventually } from '../../helpers/server.ts'

const CREDIT_UNIT = 16
const LIMITS = { ...DEFAULT_LIMITS, creditUnit: CREDIT_UNIT, retainEvents: 40, retainBytes: 4_000 }
const MARK = '\ufffd'

type Entry = { gen: number; cost: number; bytes: number; lane?: number; text?: string; event?: unknown; at: number }

/** What a log should do, in the simplest way: every item for ever, and next to it what was given up. */
class NaiveLog {
  entries: Entry[] = []
  first = 1
  lives = [{ gen: 1, first: 1 }]
  held = new Map<number, string>()
  lanes: { lane: number; data: unknown; opened: number; closed: number }[] = []

  get gen(): number {
    return this.lives.at(-1)?.gen ?? 0
  }

  get next(): number {
    return this.entries.length + 1
  }

  get size(): number {
    return this.entries.slice(this.first - 1).reduce((sum, { bytes }) => sum + bytes, 0)
  }

  text(lane: number, text: string, at: number): void {
    if (text === '') return
    const points = Array.from((this.held.get(lane) ?? '') + text)
    this.held.delete(lane)
    const last = points.at(-1) ?? ''
    if (/^[\ud800-\udbff]$/.test(last)) {
      points.pop()
      this.held.set(lane, last)
    }
    let item = ''
    for (const point of points) {
      const whole = /[\ud800-\udfff]/.test(point) && point.length === 1 ? MARK : point
      if (Buffer.byteLength(item + whole) > CREDIT_UNIT) {
        this.item(lane, item, at)
        item = ''
      }
      item += whole
    }
    if (item !== '') this.item(lane, item, at)
  }

  item(lane: number, text: string, at: number): void {
    const length = Buffer.byteLength(text)
    this.entries.push({ gen: this.gen, cost: 1, bytes: length + (length < 32 ? 1 : 2), lane, text, at })
  }

  event(type: number, data: { lane?: number }, packed: number, at: number): void {
    if (type === EVENT.laneEnd) this.flush(Number(data.lane), at)
    this.entries.push({ gen: this.gen, cost: costOf(packed, CREDIT_UNIT), bytes: packed + 1, event: [type, data], at })
    const seq = this.entries.length
    if (type === EVENT.laneStart) this.lanes.push({ lane: Number(data.lane), data, opened: seq, closed: Infinity })
    const open = this.lanes.find(({ lane, closed }) => lane === data.lane && closed === Infinity)
    if (type === EVENT.laneEnd && open) open.closed = seq
  }

  flush(lane: number, at: number): void {
    if (this.held.delete(lane)) this.item(lane, MARK, at)
  }

  trim(keep: number): void {
    while (this.first < keep && (this.next - this.first > LIMITS.retainEvents || this.size > LIMITS.retainBytes))
      this.first++
  }

  newLife(first: number): void {
    this.lives.push({ gen: this.gen + 1, first })
    this.entries.length = first - 1
    this.first = Math.min(this.first, first)
    this.held.clear()
    this.lanes = this.lanes.filter(({ opened }) => opened < first)
    for (const lane of this.lanes) if (lane.closed >= first) lane.closed = Infinity
  }

  lanesAt(seq: number): unknown[] {
    return this.lanes
      .filter(({ opened, closed }) => opened < seq && closed >= seq)
      .map(({ lane, data }) => [lane, data])
  }
}

type Step =
  | { do: 'text'; lane: number; text: string }
  | { do: 'event'; size: number }
  | { do: 'open' }
  | { do: 'close'; which: number }
  | { do: 'trim'; keep: number }
  | { do: 'life'; back: number }
  | { do: 'end' }
  | { do: 'clock'; ms: number }

const piece: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 40, unit: 'grapheme' }) },
  fc.string({ maxLength: 6, unit: fc.constantFrom('a', 'é', '語', '😀', '\ud83d', '\ude00') }),
  fc.string({ maxLength: 300 }),
  fc.constant(''),
)
const jump = fc.oneof(
  fc.integer({ min: -5, max: 5 }),
  fc.constantFrom(2 ** 17 - 2, 2 ** 17 - 1, 2 ** 17, 2 ** 32, -1e12),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('text' as const), lane: fc.nat(6), text: piece }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('event' as const), size: fc.nat(900) }) },
  { weight: 2, arbitrary: fc.constant<Step>({ do: 'open' }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), which: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('trim' as const), keep: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('life' as const), back: fc.oneof(fc.nat(30), fc.nat(90)) }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'end' }) },
  // A clock may be set back, and a run may say nothing for longer than a segment counts.
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clock' as const), ms: jump }) },
)

function apply(log: Log, naive: NaiveLog, steps: readonly Step[]): void {
  let lanes = 1
  let at = 1_700_000_000_000
  const open: number[] = []
  const event = (type: number, data: { lane?: number; filler?: string }): void => {
    const packed = packPayload(data, DEFAULT_LIMITS)
    log.appendEvent(type, packed, data, at)
    naive.event(type, data, packed.length, at)
  }
  for (const one of steps) {
    at++
    if (one.do === 'text') {
      const before = log.next
      const items = log.appendText(one.lane, one.text, at)
      expect(log.next - before).toBe(items)
      naive.text(one.lane, one.text, at)
    } else if (one.do === 'clock') at += one.ms
    else if (one.do === 'event') event(EVENT.data, { filler: 'x'.repeat(one.size) })
    else if (one.do === 'open') {
      const lane = lanes++
      open.push(lane)
      event(EVENT.laneStart, { lane })
    } else if (one.do === 'close') {
      const [lane] = open.splice(one.which % Math.max(1, open.length), 1)
      if (lane !== undefined) event(EVENT.laneEnd, { lane })
    } else if (one.do === 'trim') {
      const keep = Math.max(1, log.next - one.keep)
      log.trim(keep)
      naive.trim(keep)
    } else if (one.do === 'life') {
      // A lane whose end was given up may be forgotten, and would be open again where its end never was.
      const least = naive.lanes.some(({ closed }) => closed < log.first) ? log.first : 1
      const first = Math.max(least, log.next - one.back)
      log.newLife(first)
      naive.newLife(first)
      open.splice(0, open.length, ...naive.lanes.filter(({ closed }) => closed === Infinity).map(({ lane }) => lane))
    } else {
      log.flushAllHeld(at)
      for (const lane of [...naive.held.keys()]) naive.flush(lane, at)
    }
  }
}

/** The items of one frame's worth from `seq` on. */
function readOnce(log: Log, seq: number, maxBytes: number): Entry[] {
  const chunk = log.chunk(seq, log.last, maxBytes)
  if (!chunk) return []
  const { lane, at, cost, count, bodies } = chunk
  const values = unpackAll(bodies)
  if (lane === undefined) return [{ gen: 0, cost, bytes: bodies.length, event: values, at }]
  if (values.length !== count || cost !== count || chunk.seq !== seq || (count > 1 && bodies.length > maxBytes))
    throw new Error(`a frame that contradicts itself: ${JSON.stringify(chunk)}`)
  return values.map((text) => ({ gen: 0, cost: 1, bytes: 0, lane, text: String(text), at }))
}

/** Reads a log from `from` with frames of at most `maxBytes`. */
function readAll(log: Log, from: number, maxBytes: number): Entry[] {
  const read: Entry[] = []
  for (let seq = from; seq < log.next; seq = from + read.length) {
    const some = readOnce(log, seq, maxBytes)
    if (some.length === 0) throw new Error(`item ${seq} is not there`)
    read.push(...some)
  }
  return read
}

const content = ({ lane, text, event, cost }: Entry): unknown => ({ lane, text, event, cost })

describe('a log', () => {
  test('holds the same as a list of everything would, whatever is written, given up, read, or rewound', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120, size: 'max' }),
        fc.integer({ min: 1, max: 200 }),
        (steps, maxBytes) => {
          const log = new Log(LIMITS)
          const naive = new NaiveLog()
          apply(log, naive, steps)
          expect(log.next).toBe(naive.next)
          expect(log.first).toBe(naive.first)
          expect(log.size).toBe(naive.size)
          expect(log.gen).toBe(naive.gen)
          for (const { gen, first } of naive.lives) expect(log.firstOf(gen)).toBe(first)
          let through = log.bytesThrough(log.first - 1)
          const wrong: number[] = []
          for (let seq = log.first; seq < log.next; seq++) {
            const entry = naive.entries[seq - 1]
            const once = readOnce(log, seq, maxBytes)
            const same =
              entry?.cost === log.costOf(seq) &&
              entry.gen === log.genAt(seq) &&
              entry.bytes === log.bytesThrough(seq) - through &&
              once.length > 0 &&
              once[0]?.at === entry.at &&
              isDeepStrictEqual(log.lanesAt(seq), naive.lanesAt(seq)) &&
              isDeepStrictEqual(once.map(content), naive.entries.slice(seq - 1, seq - 1 + once.length).map(content))
            if (!same) wrong.push(seq)
            through = log.bytesThrough(seq)
          }
          expect(wrong).toEqual([])
          expect(readAll(log, log.first, maxBytes).map(content)).toEqual(
            naive.entries.slice(log.first - 1).map(content),
          )
          expect(log.lanesAt(log.next)).toEqual(naive.lanesAt(log.next))
          expect(log.chunk(log.first - 1, log.last, maxBytes)).toBeUndefined()
          expect(log.chunk(log.next, log.next, maxBytes)).toBeUndefined()
        },
      ),
      { numRuns: 150 },
    )
  })

  test('writes into the memory of what it has dropped, however long the run goes on', () => {
    const log = new Log({ ...DEFAULT_LIMITS, retainEvents: 1_000 })
    const buffers = new Set<unknown>()
    for (let n = 1; n <= 100_000; n++) {
      log.appendText(0, `word ${n}`, 1_700_000_000_000)
      if (log.full) log.trim(log.next)
      buffers.add(log.chunk(log.last, log.last, 1_000)?.body)
    }
    // 1,000 items are four segments, and two more are begun before the oldest is dropped.
    expect(buffers.size).toBeLessThanOrEqual(6)
    expect(readAll(log, log.first, 1_000).at(-1)?.text).toBe('word 100000')
  })

  test('is the same in another log after it went there in batches, from whichever item on', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120, size: 'max' }),
        fc.nat(10_000),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
        (steps, somewhere, sizes) => {
          const log = new Log(LIMITS)
          const naive = new NaiveLog()
          apply(log, naive, steps)
          // Which lanes are open is told with the first item, so there is one.
          if (log.first === log.next) apply(log, naive, [{ do: 'event', size: 0 }])
          const from = log.first + (somewhere % (log.next - log.first + 1))
          const copy = Log.behind(LIMITS, from, naive.lives)
          expect([copy.first, copy.next, copy.gen]).toEqual([from, from, log.gen])
          // Batches begin before the item that is wanted: a store gives the whole batch that has it.
          let n = 0
          for (let seq = log.first; seq < log.next; ) {
            const batch = log.batch(seq, log.last, sizes[n++ % sizes.length] ?? 1)
            expect(batch.first).toBe(seq)
            copy.add(batch)
            copy.add(batch)
            seq = batch.last + 1
          }
          expect(copy.next).toBe(log.next)
          // Item by item, because those that are read together have the time of the first.
          expect(readAll(copy, from, -1)).toEqual(readAll(log, from, -1))
          for (let seq = from; seq <= log.next; seq++) {
            expect(copy.lanesAt(seq)).toEqual(log.lanesAt(seq))
            expect([copy.costOf(seq), copy.genAt(seq)]).toEqual([log.costOf(seq), log.genAt(seq)])
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  test('shows its readers no item that is not to be shown, and counts it for its writer', () => {
    const log = new Log(LIMITS)
    log.showThrough(0)
    const cursor = new Cursor(log, { last: 0, gen: 1 }, 20, 40)
    for (let i = 0; i < 5; i++) log.appendText(0, 'x', i)
    expect([log.last, log.written, cursor.reach]).toEqual([0, 5, 0])
    log.showThrough(3)
    expect([log.last, log.written, cursor.reach]).toEqual([3, 5, 3])
    log.newLife(2)
    expect([log.last, log.written]).toEqual([1, 1])
  })

  test('reads no further than its bound', () => {
    const log = new Log(DEFAULT_LIMITS)
    for (let i = 0; i < 600; i++) log.appendText(0, 'ab', i)
    expect(log.chunk(10, 12, 10_000)).toMatchObject({ seq: 10, count: 3 })
    expect(log.chunk(10, 9, 10_000)).toBeUndefined()
    expect(log.chunk(10, 600, 7)).toMatchObject({ seq: 10, count: 2 })
    // One item at least, however little is asked for.
    expect(log.chunk(10, 600, 1)).toMatchObject({ seq: 10, count: 1 })
  })

  test('never gives up an item that a reader must still be sent', () => {
    const log = new Log(LIMITS)
    for (let i = 0; i < 500; i++) log.appendText(0, 'x', i)
    log.trim(20)
    expect(log.first).toBe(20)
    log.trim(log.next)
    expect(log.next - log.first).toBe(LIMITS.retainEvents)
  })

  const large = packPayload({ x: 'y'.repeat(60_000) }, DEFAULT_LIMITS)
  test.each([
    ['of texts of 1 KB', (log: Log) => log.appendText(0, 'x'.repeat(1_000), 0)],
    [
      'of large events with a little text between',
      (log: Log) => {
        log.appendEvent(EVENT.data, large, {}, 0)
        log.appendText(0, 'and', 0)
      },
    ],
  ])('takes not much more memory than it counts, %s', async (_, say) => {
    const buffers = (): number => {
      gc?.()
      return process.memoryUsage().arrayBuffers
    }
    const before = buffers()
    const logs = Array.from({ length: 4 }, () => new Log(DEFAULT_LIMITS))
    for (const log of logs) while (log.size < 4_000_000) say(log)
    const counted = (): number => logs.reduce((sum, { size }) => sum + size, 0)
    await eventually(() => buffers() - before < 1.5 * counted(), 'buffers that are full')
  })

  test('gives up everything but its numbers when it is cleared', () => {
    const log = new Log(LIMITS)
    for (let i = 0; i < 50; i++) log.appendText(0, 'x', i)
    log.clear()
    expect(log.size).toBe(0)
    expect(log.first).toBe(51)
    expect(log.next).toBe(51)
    expect(log.chunk(50, 50, 100)).toBeUndefined()
    log.appendText(0, 'again', 1)
    expect(readAll(log, 51, 100).map(({ text }) => text)).toEqual(['again'])
  })
})

describe('a cursor', () => {
  test('reaches what sending item by item would', () => {
    const move = fc.oneof(
      fc.record({ do: fc.constant('append' as const), sizes: fc.array(fc.nat(100), { maxLength: 5 }) }),
      fc.record({ do: fc.constant('grant' as const), n: fc.integer({ min: 1, max: 30 }) }),
      fc.record({ do: fc.constant('send' as const), n: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ do: fc.constant('look' as const) }),
      fc.record({ do: fc.constant('life' as const), back: fc.nat(12) }),
    )
    fc.assert(
      fc.property(fc.array(move, { maxLength: 80, size: 'max' }), fc.nat(20), (moves, credit) => {
        const maxCredit = 40
        const log = new Log({ ...LIMITS, retainEvents: 10_000, retainBytes: 1_000_000 })
        const cursor = new Cursor(log, { last: 0, gen: 1 }, credit, maxCredit)
        let balance = Math.min(credit, maxCredit)
        let last = 0
        const reach = (): number => {
          let left = balance
          let at = Math.min(last, log.last)
          while (left > 0 && at < log.last) left -= log.costOf(++at)
          return at
        }
        // What a subscription does when it stands where another life begins.
        const passLives = (): void => {
          for (let life = log.lifeAfter(cursor.gen); life && last >= life.first - 1; life = log.lifeAfter(life.gen)) {
            last = life.first - 1
            cursor.moveTo(last, life.gen)
          }
        }
        for (const one of moves) {
          if (one.do === 'append')
            for (const size of one.sizes) {
              if (size < 60) log.appendText(0, 'x', 0)
              else log.appendEvent(EVENT.data, packPayload({ x: 'y'.repeat(size) }, DEFAULT_LIMITS), {}, 0)
            }
          else if (one.do === 'grant') {
            cursor.grant(one.n)
            balance = Math.min(maxCredit, balance + one.n)
          } else if (one.do === 'send') {
            for (let i = 0; i < one.n && cursor.last < cursor.reach; i++) {
              const cost = log.costOf(cursor.last + 1)
              cursor.sent(cursor.last + 1, cost)
              last++
              balance -= cost
              passLives()
            }
          } else if (one.do === 'life') {
            const first = Math.max(1, log.next - one.back)
            log.newLife(first)
            cursor.enterLife(first)
            passLives()
          }
          expect(cursor.reach).toBe(reach())
          expect(cursor.balance).toBe(balance)
          expect(cursor.last).toBe(last)
          // How far ahead the actor may go, said without the cursor's own bookkeeping.
          for (const readAhead of [0, 3]) {
            const room = cursor.room(
              { readAhead, retainBytes: 1_000_000, creditUnit: CREDIT_UNIT },
              Number.POSITIVE_INFINITY,
            )
            const beyond = reach() === log.last ? balance - costs(log, last, log.last) : 0
            expect(room).toBe(beyond > 0 ? beyond : Math.max(0, readAhead - (log.last - reach())))
          }
        }
      }),
      { numRuns: 150 },
    )
  })

  test('keeps every item that may still be lost in flight', () => {
    const move = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constant('append' as const), sizes: fc.array(fc.nat(100), { maxLength: 8 }) }),
      },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('grant' as const), n: fc.integer({ min: 1, max: 30 }) }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), n: fc.integer({ min: 1, max: 30 }) }) },
      fc.record({ do: fc.constant('trim' as const), others: fc.boolean() }),
      fc.record({ do: fc.constant('life' as const), back: fc.nat(12) }),
    )
    fc.assert(
      fc.property(fc.array(move, { maxLength: 80, size: 'max' }), (moves) => {
        const maxCredit = 40
        const log = new Log({ ...LIMITS, retainEvents: 20, retainBytes: 100_000 })
        const cursor = new Cursor(log, { last: 0, gen: 1 }, 20, maxCredit)
        const costsSent: number[] = []
        /** Of each item that still counts, how many had been sent with it. */
        let sentAs: number[] = []
        const mayBeLost = (seq: number): boolean => {
          const after = costsSent.slice(sentAs[seq]).reduce((sum, cost) => sum + cost, 0)
          return after < maxCredit + Math.max(...costsSent)
        }
        for (const one of moves) {
          if (one.do === 'append')
            for (const size of one.sizes) {
              if (size < 80) log.appendText(0, 'x', 0)
              else log.appendEvent(EVENT.data, packPayload({ x: 'y'.repeat(size) }, DEFAULT_LIMITS), {}, 0)
            }
          else if (one.do === 'grant') cursor.grant(one.n)
          else if (one.do === 'send') {
            for (let i = 0; i < one.n && cursor.last < cursor.reach; i++) {
              const seq = cursor.last + 1
              const cost = log.costOf(seq)
              cursor.sent(seq, cost)
              sentAs[seq] = costsSent.push(cost)
            }
          } else if (one.do === 'trim') log.trim(one.others ? cursor.last + 1 : cursor.safeThrough + 1)
          else {
            const first = Math.max(log.first, log.next - one.back)
            log.newLife(first)
            cursor.enterLife(first)
            if (cursor.last >= first - 1) {
              cursor.moveTo(first - 1, log.gen)
              sentAs = sentAs.slice(0, first)
            }
          }
          const lost: number[] = []
          for (let seq = log.first; seq <= Math.min(cursor.last, cursor.safeThrough); seq++)
            if (mayBeLost(seq)) lost.push(seq)
          expect(lost).toEqual([])
        }
      }),
      { numRuns: 300 },
    )
  })

  test('that a batch began has none of the lanes of a history that is void from before that batch', () => {
    const source = new Log(DEFAULT_LIMITS)
    for (let n = 0; n < 49; n++) source.appendText(0, 'x', 1)
    const data = { lane: 1, agent: 'a' }
    source.appendEvent(EVENT.laneStart, packPayload(data, DEFAULT_LIMITS), data, 1)
    for (let n = 0; n < 60; n++) source.appendText(0, 'x', 1)
    const view = Log.behind(DEFAULT_LIMITS, 100, source.lives)
    view.add(source.batch(100, source.last, 1_000_000))
    expect(view.lanesAt(105)).toHaveLength(1)
    expect(view.enterLives([...source.lives, { gen: 2, first: 30 }])).toBe(30)
    expect([view.first, view.next, view.lanesAt(30)]).toEqual([30, 30, []])
  })
})

function costs(log: Log, after: number, through: number): number {
  let sum = 0
  for (let seq = after + 1; seq <= through; seq++) sum += log.costOf(seq)
  return sum
}
