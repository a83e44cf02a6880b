import type { IncomingMessage } from 'node:http'
import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'

/** How long what is left of a body is taken in all, and how long a client may send nothing of it, in milliseconds. */
const DISCARD_MS = 5_000
const SILENT_MS = 500
/** How many bytes of what is left are taken. */
const DISCARD_BYTES = 64 * 1_048_576

/** The body of a request of Node, of which no byte is read before it is asked for. */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array>
  readonly #request: IncomingMessage
  #reading: AsyncIterator<Uint8Array> | undefined

  /** @param wanted somebody begins to read the body: a client that waits for that may send it. */
  constructor(request: IncomingMessage, wanted: () => void) {
    this.#request = request
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          if (!this.#reading) wanted()
          const step = await this.#chunks.next().catch(() => {
            // No failure of the server, and nobody is there to be told.
            throw new MillraceError('bad_request', 'the client left before the whole body had come')
          })
          if (step.done) controller.close()
          else controller.enqueue(step.value)
        },
      },
      { highWaterMark: 0 },
    )
  }

  /**
   * Takes what is left of the body and forgets it. A client that writes its whole request before it reads would find the
   * connection reset, and never see the answer. Resolves at the end of the body, and for a client that sends for ever, or
   * sends nothing more, when a limit is reached.
   */
  async discard(runtime: Pick<Runtime, 'setTimer'>): Promise<void> {
    await new Promise<void>((resolve) => {
      let bytes = 0
      let silence = runtime.setTimer(SILENT_MS, resolve)
      const end = runtime.setTimer(DISCARD_MS, resolve)
      const take = async (): Promise<void> => {
        for (let step = await this.#chunks.next(); !step.done; step = await this.#chunks.next()) {
          silence.clear()
          silence = runtime.setTimer(SILENT_MS, resolve)
          bytes += step.value.length
          if (bytes > DISCARD_BYTES) return
        }
      }
      take()
        // The client has left.
        .catch(() => {})
        .finally(() => {
          silence.clear()
          end.clear()
          resolve()
        })
    })
  }

  get #chunks(): AsyncIterator<Uint8Array> {
    return (this.#reading ??= this.#request.iterator({ destroyOnReturn: false }))
  }
}
