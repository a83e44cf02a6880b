import { getEventListeners } from 'node:events'
import { describe, expect, test, vi } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import type { Runtime } from '../../../protocol/runtime.ts'
import { type RetryEvent, retry } from '../../../server/streams/retry.ts'
import { wait } from '../../../server/streams/wait.ts'

const TRY_AGAIN = new MillraceError('provider_overloaded', 'try again')
const NEVER = new AbortController().signal

/** Its timers fire as soon as they are set; `waits` is what they were set to. */
function immediate(chance = 0.5): { runtime: Pick<Runtime, 'setTimer' | 'random'>; waits: number[] } {
  const waits: number[] = []
  return {
    waits,
    runtime: {
      random: () => chance,
      setTimer(ms, callback) {
        waits.push(ms)
        queueMicrotask(callback)
        return { clear: () => {} }
      },
    },
  }
}

/** Reads it to its end: what it announced, and what it gave or threw. */
async function run<Result>(
  retries: AsyncGenerator<RetryEvent, Result>,
): Promise<{ said: RetryEvent[]; result?: Result; error?: unknown }> {
  const said: RetryEvent[] = []
  try {
    let item = await retries.next()
    for (; !item.done; item = await retries.next()) said.push(item.value)
    return { said, result: item.value }
  } catch (error) {
    return { said, error }
  }
}

describe('retry', () => {
  test('gives the value of the first attempt, and reports nothing', async () => {
    expect(await run(retry(async () => 'it', { signal: NEVER }))).toEqual({ said: [], result: 'it' })
  })

  test('waits up to 1, 2, 4, 8 and then 10 seconds', async () => {
    const { runtime, waits } = immediate(0.999999)
    const options = { signal: NEVER, maxRetries: 6, runtime }
    const { said, error } = await run(retry(() => Promise.reject(TRY_AGAIN), options))
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000])
    expect(said.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5, 6])
    expect(said.map(({ delayMs }) => delayMs)).toEqual(waits)
    expect(error).toBe(TRY_AGAIN)
  })

  test('may come back at once, by chance', async () => {
    const { runtime, waits } = immediate(0)
    await run(retry(() => Promise.reject(TRY_AGAIN), { signal: NEVER, maxRetries: 2, runtime }))
    expect(waits).toEqual([0, 0])
  })

  test('comes back no sooner than the error asks', async () => {
    const { runtime, waits } = immediate()
    const error = new MillraceError('provider_rate_limited', 'later', { details: { afterMs: 20_000 } })
    await run(retry(() => Promise.reject(error), { signal: NEVER, maxRetries: 1, runtime }))
    expect(waits).toEqual([20_000])
  })

  test('gives up rather than wait for longer than a minute', async () => {
    const error = new MillraceError('provider_rate_limited', 'tomorrow', { details: { afterMs: 60_001 } })
    expect(await run(retry(() => Promise.reject(error), { signal: NEVER }))).toEqual({ said: [], error })
  })

  test('does not retry a foreign error or one that is not retryable', async () => {
    for (const error of [new Error('foreign'), new MillraceError('unauthenticated', 'no')]) {
      const attempt = vi.fn(() => Promise.reject(error))
      expect(await run(retry(attempt, { signal: NEVER }))).toEqual({ said: [], error })
      expect(attempt).toHaveBeenCalledTimes(1)
    }
  })

  test('makes no attempt once it is aborted', async () => {
    const reason = new Error('stop')
    const attempt = vi.fn(async () => 'it')
    expect(await run(retry(attempt, { signal: AbortSignal.abort(reason) }))).toEqual({ said: [], error: reason })
    expect(attempt).not.toHaveBeenCalled()
  })

  test('throws the reason of the abort, not what the aborted attempt threw', async () => {
    const controller = new AbortController()
    const reason = new Error('stop')
    const attempt = (): Promise<never> => {
      controller.abort(reason)
      return Promise.reject(TRY_AGAIN)
    }
    expect(await run(retry(attempt, { signal: controller.signal }))).toEqual({ said: [], error: reason })
  })
})

describe('a wait', () => {
  test('ends at once when it is aborted, and leaves neither timer nor listener', async () => {
    const controller = new AbortController()
    const clear = vi.fn()
    const waiting = wait(60_000, controller.signal, { setTimer: () => ({ clear }) })
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1)
    const reason = new Error('stop')
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    expect(clear).toHaveBeenCalledTimes(1)
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  test('leaves no listener when its time is over', async () => {
    const { signal } = new AbortController()
    await wait(1, signal)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('sets no timer when it is aborted already', async () => {
    const setTimer = vi.fn()
    await expect(wait(1, AbortSignal.abort('no'), { setTimer })).rejects.toBe('no')
    expect(setTimer).not.toHaveBeenCalled()
  })
})
