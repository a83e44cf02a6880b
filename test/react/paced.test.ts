import { expect, test } from 'vitest'
import { paced } from '../../react/paced.ts'
import { HandFrames } from '../helpers/hand-frames.ts'

/** A source that a test fills, and that counts what was taken of it. */
function source() {
  const queue: number[] = []
  let wake: (() => void) | undefined
  const made = {
    taken: 0,
    returned: false,
    push(...events: number[]) {
      queue.push(...events)
      wake?.()
    },
    async next(): Promise<IteratorResult<number, undefined>> {
      while (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      made.taken++
      return { value: queue.shift()!, done: false }
    },
    async return(): Promise<IteratorResult<number, undefined>> {
      made.returned = true
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]: () => made,
  }
  return made
}

/** Reads all that it gets. */
function reader(events: AsyncIterable<number>) {
  const read: number[] = []
  const over = (async () => {
    for await (const event of events) read.push(event)
  })()
  return { read, over }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('an event that is waited for comes at once, and those behind it with the next frame, all that are there', async () => {
  const frames = new HandFrames()
  const from = source()
  const { read } = reader(paced(from, frames.next))
  from.push(1)
  await settled()
  expect(read).toEqual([1])
  from.push(2, 3, 4)
  await settled()
  expect([read, from.taken]).toEqual([[1], 1])
  await frames.draw()
  expect(read).toEqual([1, 2, 3, 4])
  from.push(5, 6)
  await settled()
  // This one was waited for, and the next one waits for its frame.
  expect(read).toEqual([1, 2, 3, 4, 5])
  await frames.draw()
  expect(read).toEqual([1, 2, 3, 4, 5, 6])
})

test('a source whose events come through several promises is read as a batch too', async () => {
  const frames = new HandFrames()
  const from = source()
  const through = {
    async *[Symbol.asyncIterator]() {
      for await (const event of { [Symbol.asyncIterator]: () => from }) {
        for (let hop = 0; hop < 20; hop++) await Promise.resolve()
        yield event
      }
    },
  }
  const { read } = reader(paced(through, frames.next))
  from.push(1, 2, 3, 4, 5)
  await settled()
  await frames.draw()
  expect(read).toEqual([1, 2, 3, 4, 5])
})

test('without frames it takes one event and no more', async () => {
  const frames = new HandFrames()
  const from = source()
  reader(paced(from, frames.next))
  for (let n = 0; n < 10; n++) {
    from.push(n)
    await settled()
  }
  expect(from.taken).toBe(1)
})

test('leaving it ends a wait for a frame, and leaves the source', async () => {
  const frames = new HandFrames()
  const from = source()
  const events = paced(from, frames.next)
  const { read, over } = reader(events)
  from.push(1, 2)
  await settled()
  await events.return?.()
  await over
  expect([read, from.returned, frames.waiting]).toEqual([[1], true, 0])
})
