import { MillraceError } from '../../../protocol/errors.ts'
import type { AskRefusal } from '../run-store.ts'
import type { Argument, Reply } from './client.ts'
import type { LinkRuntime } from './link.ts'
import { SCRIPTS, type Script } from './scripts.ts'

/** How often an ask is looked after while nothing is heard, in milliseconds: at first, and at most. */
const LOOK_MS = 100
const MAX_LOOK_MS = 1_000
/** What may be asked of one run at a time, and the bytes of all of that. */
const MOST_ASKS = 256
const MOST_BYTES = 4_194_304

/** What asks take from their Redis. */
export type AsksCallbacks = {
  readonly runtime: Pick<LinkRuntime, 'setTimer'>
  readonly node: string
  readonly nodes: string
  run(id: string, script: Script, args: readonly Argument[]): Promise<Reply>
}

/** An ask without an answer. */
class OpenAsk {
  readonly id: string
  #isHeard = false
  #wake: (() => void) | undefined

  constructor(id: string) {
    this.id = id
  }

  /** There may be an answer. */
  readonly look = (): void => {
    this.#isHeard = true
    this.#wake?.()
  }

  /** Waits until there may be an answer, but no longer than `ms`. */
  async wait(ms: number, runtime: AsksCallbacks['runtime']): Promise<void> {
    if (!this.#isHeard) {
      await new Promise<void>((resolve) => {
        const timer = runtime.setTimer(ms, resolve)
        this.#wake = () => {
          timer.clear()
          resolve()
        }
      })
    }
    this.#isHeard = false
    this.#wake = undefined
  }
}

/** What this process asks of runs that other processes hold. */
export class Asks {
  readonly #redis: AsksCallbacks
  readonly #open = new Set<OpenAsk>()
  #last = 0

  constructor(redis: AsksCallbacks) {
    this.#redis = redis
  }

  /**
   * Asks, and waits for the answer.
   * @throws MillraceError `store_unavailable` when the ask could not be stored, or the wait was given up.
   */
  async ask(id: string, packed: Buffer, signal: AbortSignal): Promise<Uint8Array | AskRefusal> {
    const { node, nodes } = this.#redis
    // The name of an ask makes it the same ask when it is sent again.
    const nonce = `${node}/${++this.#last}`
    const args = [nonce, packed, `${MOST_ASKS}`, `${MOST_BYTES}`, nodes, id]
    const open = new OpenAsk(id)
    this.#open.add(open)
    signal.addEventListener('abort', open.look)
    try {
      const asked = String(await this.#redis.run(id, SCRIPTS.ask, args))
      if (!OPEN.includes(asked)) return asked as AskRefusal
      for (let ms = LOOK_MS; !signal.aborted; ms = Math.min(MAX_LOOK_MS, ms * 2)) {
        const answer = await this.#answer(id, nonce)
        if (answer !== undefined) return answer
        await open.wait(ms, this.#redis.runtime)
      }
      throw new MillraceError('store_unavailable', 'nobody waits for the answer any more')
    } finally {
      this.#open.delete(open)
      signal.removeEventListener('abort', open.look)
    }
  }

  /** Something was said of a run: perhaps that it has answered. */
  heard(id: string): void {
    for (const ask of [...this.#open]) if (ask.id === id) ask.look()
  }

  /** Looks after all of them: hints may have been lost. */
  lookAll(): void {
    for (const ask of [...this.#open]) ask.look()
  }

  async #answer(id: string, nonce: string): Promise<Uint8Array | AskRefusal | undefined> {
    try {
      const reply = await this.#redis.run(id, SCRIPTS.answered, [nonce])
      if (Buffer.isBuffer(reply) && reply[0] === ANSWER) {
        // Not with the same call: its reply may be lost.
        this.#redis.run(id, SCRIPTS.answered, [nonce, 'forget']).catch(() => {})
        return new Uint8Array(reply.subarray(1))
      }
      const what = String(reply)
      return OPEN.includes(what) ? undefined : (what as AskRefusal)
    } catch (error) {
      if (MillraceError.is(error, 'store_unavailable')) return undefined
      throw error
    }
  }
}

/** What is said of an ask that will have an answer: its holder hears it, or the one who takes the run over. */
const OPEN = ['asked', 'abandoned']
/** The first byte of an answer. */
const ANSWER = 61
