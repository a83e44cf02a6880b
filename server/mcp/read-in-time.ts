import type { Runtime, Timer } from '../../protocol/runtime.ts'

/**
 * The body of an answer, which ends when its client does not read on for `ms` milliseconds, and then reports to its source
 * that it has left.
 * @param took one more piece of it was taken.
 * @param over it is read to its end, or will not be.
 */
export function readInTime(
  body: ReadableStream<Uint8Array>,
  runtime: Pick<Runtime, 'setTimer'>,
  ms: number,
  { took, over }: { took: () => void; over: () => void },
): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  let timer: Timer | undefined
  let isOver = false
  const end = (): void => {
    timer?.clear()
    if (!isOver) over()
    isOver = true
  }
  // One piece is read ahead: what waits for the client is known to wait.
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        timer?.clear()
        try {
          const { done, value } = await reader.read()
          if (isOver) return
          if (done) {
            end()
            controller.close()
            return
          }
          took()
          controller.enqueue(value)
          timer = runtime.setTimer(ms, () => {
            const slow = new Error(`the client did not read its answer for ${ms} ms`)
            controller.error(slow)
            end()
            reader.cancel(slow).catch(() => {})
          })
        } catch (error) {
          if (isOver) return
          end()
          controller.error(error)
        }
      },
      async cancel(reason) {
        end()
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 1 },
  )
}
