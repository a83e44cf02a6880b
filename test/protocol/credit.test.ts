import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Balance, CreditWindow, costOf } from '../../protocol/credit.ts'

describe('the cost of an item', () => {
  test.each([
    [0, 1],
    [1, 1],
    [1_024, 1],
    [1_025, 2],
    [2_048, 2],
    [2_049, 3],
    [65_536, 64],
  ])('of %i bytes is %i', (bytes, cost) => {
    expect(costOf(bytes, 1_024)).toBe(cost)
  })
})

describe('a balance', () => {
  test('begins at what was asked, or at the maximum', () => {
    expect(new Balance(256, 1_900).available).toBe(256)
    expect(new Balance(5_000, 1_900).available).toBe(1_900)
    expect(new Balance(0, 1_900).available).toBe(0)
  })

  test('grows up to the maximum and returns what was really added', () => {
    const balance = new Balance(8, 10)
    expect(balance.grant(5)).toBe(2)
    expect(balance.grant(5)).toBe(0)
    balance.spend(12)
    expect(balance.available).toBe(-2)
    expect(balance.grant(5)).toBe(5)
    expect(balance.available).toBe(3)
  })
})

describe('a credit window', () => {
  test('grants nothing below half of itself, and then exactly what it owes', () => {
    const window = new CreditWindow(10)
    for (let i = 0; i < 4; i++) {
      window.arrived(1)
      window.released(1)
    }
    expect(window.due()).toBe(0)
    window.returned(2)
    expect(window.due()).toBe(6)
    expect(window.due()).toBe(0)
  })

  test('of size 0 never grants', () => {
    expect(new CreditWindow(0).due()).toBe(0)
  })

  test('that shrinks owes its half sooner', () => {
    const window = new CreditWindow(10)
    window.returned(3)
    expect(window.due()).toBe(0)
    window.shrink(4)
    expect(window.size).toBe(6)
    expect(window.due()).toBe(3)
  })

  test('that is overdrawn by its queue grants nothing, and takes the rest off the next grants', () => {
    const window = new CreditWindow(4)
    window.arrived(7)
    expect(window.reopen()).toBe(0)
    window.released(7)
    expect(window.due()).toBe(4)
  })

  test('forgets at a reopening what it owed: the credit it asks for contains it', () => {
    const window = new CreditWindow(10)
    window.arrived(3)
    window.returned(4)
    expect(window.reopen()).toBe(7)
    expect(window.due()).toBe(0)
  })
})

type Step = 'send' | 'deliver' | 'duplicate' | 'consume' | 'due' | 'grant' | 'reopen'

const steps = fc.array(
  fc.record({
    step: fc.constantFrom<Step>(
      'send',
      'send',
      'send',
      'deliver',
      'deliver',
      'duplicate',
      'consume',
      'consume',
      'due',
      'due',
      'grant',
      'grant',
      'reopen',
    ),
    cost: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 64 })),
  }),
  { maxLength: 300 },
)

/** Both ends of one subscription and the link between them, moved one step at a time. */
class Link {
  readonly window: CreditWindow
  readonly #max: number
  sender: Balance
  items: number[] = []
  grants: number[] = []
  queue: number[] = []

  constructor(size: number, max: number) {
    this.#max = max
    this.window = new CreditWindow(size)
    this.sender = this.#opened(size)
  }

  /** The sender's OPENED: it accepts what is asked up to its maximum. */
  #opened(asked: number): Balance {
    const balance = new Balance(asked, this.#max)
    this.window.shrink(asked - balance.available)
    return balance
  }

  apply(step: Step, cost: number): void {
    switch (step) {
      case 'send':
        if (this.sender.available <= 0) return
        this.sender.spend(cost)
        this.items.push(cost)
        return
      case 'deliver': {
        const item = this.items.shift()
        if (item === undefined) return
        this.window.arrived(item)
        this.queue.push(item)
        return
      }
      case 'duplicate': {
        const item = this.items.shift()
        if (item !== undefined) this.window.returned(item)
        return
      }
      case 'consume': {
        const item = this.queue.shift()
        if (item !== undefined) this.window.released(item)
        return
      }
      case 'due': {
        const n = this.window.due()
        if (n > 0) this.grants.push(n)
        return
      }
      case 'grant': {
        const n = this.grants.shift()
        if (n !== undefined) expect(this.sender.grant(n), 'no grant is clamped').toBe(n)
        return
      }
      case 'reopen':
        this.items = []
        this.grants = []
        this.sender = this.#opened(this.window.reopen())
    }
  }

  /** Everything that is under way arrives, is read, and is granted again. */
  settle(): void {
    while (this.items.length > 0) this.apply('deliver', 0)
    while (this.queue.length > 0) this.apply('consume', 0)
    this.apply('due', 0)
    while (this.grants.length > 0) this.apply('grant', 0)
  }

  get onTheWay(): number {
    return sum(this.items) + sum(this.grants)
  }
}

const sizes = fc.integer({ min: 1, max: 300 })
const maxima = fc.integer({ min: 1, max: 200 })

describe('both ends of a subscription, whatever happens in whatever order', () => {
  test('agree: balance + in flight = size - queued - owed', () => {
    fc.assert(
      fc.property(sizes, maxima, steps, (size, max, moves) => {
        const link = new Link(size, max)
        let owed = 0
        for (const { step, cost } of moves) {
          const before = { queued: link.window.queued, items: link.items[0] ?? 0, queue: link.queue[0] ?? 0 }
          const grants = link.grants.length
          link.apply(step, cost)
          // The debt is counted here from the events alone, not asked of the window.
          if (step === 'duplicate') owed += before.items
          if (step === 'consume') owed += before.queue
          if (step === 'due' && link.grants.length > grants) owed = 0
          if (step === 'reopen') owed = Math.min(0, link.window.size - before.queued)
          expect(link.window.queued).toBe(sum(link.queue))
          expect(link.sender.available + link.onTheWay).toBe(link.window.size - link.window.queued - owed)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('never deadlock: once all is read, the sender may send again', () => {
    fc.assert(
      fc.property(sizes, maxima, steps, (size, max, moves) => {
        const link = new Link(size, max)
        for (const { step, cost } of moves) link.apply(step, cost)
        link.settle()
        expect(link.sender.available).toBeGreaterThan(0)
      }),
      { numRuns: 500 },
    )
  })

  test('never let more wait at the receiver than the window and one item', () => {
    fc.assert(
      fc.property(sizes, maxima, steps, (size, max, moves) => {
        const link = new Link(size, max)
        for (const { step, cost } of moves) {
          link.apply(step, cost)
          expect(link.window.queued + sum(link.items)).toBeLessThanOrEqual(Math.min(size, max) + 63)
          expect(link.sender.available).toBeGreaterThanOrEqual(1 - 64)
        }
      }),
      { numRuns: 500 },
    )
  })
})

function sum(numbers: number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}
