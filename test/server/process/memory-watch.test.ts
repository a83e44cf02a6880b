import { describe, expect, test, vi } from 'vitest'
import { type MemoryFigures, memoryWatch } from '../../../server/process/memory-watch.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'

const MB = 1_048_576
/** A process in a container of 1,000 MB, with little in use. */
const calm: MemoryFigures = {
  heapUsed: 100 * MB,
  heapLimit: 500 * MB,
  external: 50 * MB,
  resident: 250 * MB,
  available: 1_000 * MB,
}

describe('a process has too little memory for another run', () => {
  test.each<[what: string, figures: Partial<MemoryFigures>, isShort: boolean]>([
    ['not while little is in use', {}, false],
    ['not at 75 % of the heap limit', { heapUsed: 375 * MB }, false],
    ['above 75 % of the heap limit', { heapUsed: 376 * MB }, true],
    ['not while heap and buffers take 75 % of the available memory', { external: 650 * MB }, false],
    ['when buffers take what the heap does not', { external: 651 * MB, resident: 800 * MB }, true],
    [
      'when the process takes 91 % and heap and buffers more than half',
      { external: 401 * MB, resident: 910 * MB },
      true,
    ],
    ['not for memory that an allocator keeps after it was freed', { external: 10 * MB, resident: 990 * MB }, false],
    ['when the container has less memory than the heap limit', { available: 130 * MB }, true],
  ])('%s', (_, figures, isShort) => {
    expect(memoryWatch(handClock(), () => ({ ...calm, ...figures }))()).toBe(isShort)
  })

  test('as of a reading that is at most 250 ms old', () => {
    const runtime = handClock()
    const read = vi.fn(() => calm)
    const isShort = memoryWatch(runtime, read)
    for (let n = 0; n < 1_000; n++) isShort()
    expect(read).toHaveBeenCalledTimes(1)
    read.mockReturnValue({ ...calm, heapUsed: 499 * MB })
    runtime.advance(249)
    expect(isShort()).toBe(false)
    runtime.advance(1)
    expect(isShort()).toBe(true)
    read.mockReturnValue(calm)
    runtime.advance(250)
    expect(isShort()).toBe(false)
  })
})

test('buffers that fill the memory of the process refuse a start, and live runs go on', async () => {
  const runtime = handClock()
  await using server = await testServer({ silent: silent() }, { runtime })
  await using client = await server.client()
  client.start(1, 'silent')
  await client.next('opened', 1)
  const usage = process.memoryUsage()
  const full = { ...usage, external: 1e15 }
  const fake = vi.spyOn(process, 'memoryUsage').mockImplementation(Object.assign(() => full, { rss: () => usage.rss }))
  try {
    runtime.advance(250)
    client.start(2, 'silent')
    const refusal = { outcome: 'error', seq: 0, data: { code: 'overloaded', retryable: true } }
    expect(await client.next('end', 2)).toMatchObject(refusal)
  } finally {
    fake.mockRestore()
  }
  runtime.advance(250)
  client.start(3, 'silent')
  await client.next('opened', 3)
  expect(server.server.liveRuns).toBe(2)
})
