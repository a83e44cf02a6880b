import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { nodeRuntime, wallClockAt } from '../../server/runtime.ts'

test('a timer is rounded up to whole milliseconds, of which Node would drop the rest', () => {
  const setTimeout = vi.spyOn(globalThis, 'setTimeout')
  try {
    nodeRuntime.setTimer(3.2, () => {}).clear()
    expect(setTimeout).toHaveBeenCalledWith(expect.any(Function), 4)
  } finally {
    setTimeout.mockRestore()
  }
})

test('the wall clock at an earlier time is never before what it said then, though it cuts its readings down', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (at, later) => {
        const wall = (time: number): number => Math.floor(1e12 + 0.5 + time)
        const now = at + later
        const runtime = { ...nodeRuntime, now: () => now, wallClock: () => wall(now) }
        const said = wallClockAt(runtime, at)
        expect(said).toBeGreaterThanOrEqual(wall(at))
        expect(said).toBeLessThanOrEqual(wall(at) + 1)
      },
    ),
  )
})
