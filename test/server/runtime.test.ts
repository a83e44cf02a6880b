import { expect, test, vi } from 'vitest'
import { nodeRuntime } from '../../server/runtime.ts'

test('a timer is rounded up to whole milliseconds, of which Node would drop the rest', () => {
  const setTimeout = vi.spyOn(globalThis, 'setTimeout')
  try {
    nodeRuntime.setTimer(3.2, () => {}).clear()
    expect(setTimeout).toHaveBeenCalledWith(expect.any(Function), 4)
  } finally {
    setTimeout.mockRestore()
  }
})
