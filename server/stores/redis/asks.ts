import { MillraceError } from '../../../protocol/errors.ts'
import type { AskRefusal } from '../run-store.ts'
import type { Argument, Reply } from './client.ts'
import type { LinkRuntime } from './link.ts'
import type { Script } from './script.ts'
import { SCRIPTS } from './scripts.ts'

/** How often an ask is looked after while nothing is heard, in milliseconds: at first, and at most. */
const LOOK_MS = 100
const MAX_LOOK_MS = 1_000
/** What may be asked of one run at a time, and the bytes of all of that. */
const MOST_ASKS = 256
const MOST_BYTES = 4_194_304
/** The room that cancels have besides. */
const MORE_STOPS = 64
const MORE_STOP_BYTES = 65_536
/** How long an answer is kept that nobody fetches, where its room is needed, in milliseconds: who asked may have died. */
const UNFETCHED_MS = 60_000

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
   * Asks, and waits for the answer. The ask is heard also if nobody waits for that any more.
   * @param isStop Whether there is room for it where too much is asked already.
   * @throws MillraceError `store_unavailable` when the ask could not be stored, or the wait was given up.
   */
  async ask(id: string, packed: Buffer, signal: AbortSignal, isStop: boolean): Promise<Uint8Array | AskRefusal> {
    const { node, nodes } = this.#redis
    // The name of an ask makes it the same ask when it is sent again.
    const nonce = `${node}/${++this.#last}`
    const [asks, bytes] = isStop ? [MOST_ASKS + MORE_STOPS, MOST_BYTES + MORE_STOP_BYTES] : [MOST_ASKS, MOST_BYTES]
    const args = [nonce, packed, `${asks}`, `${bytes}`, `${UNFETCHED_MS}`, nodes, id]
    const open = new OpenAsk(id)
    this.#open.add(open)
    signal.addEventListener('abort', open.look)
    let said = 'lost'
    try {
      for (let ms = LOOK_MS; !signal.aborted || said === 'lost'; ms = Math.min(MAX_LOOK_MS, ms * 2)) {
        // Redis may come back with older data, and not know of the ask any more.
        if (said === 'lost') said = String(await this.#redis.run(id, SCRIPTS.ask, args))
        const answer: Uint8Array | string = OPEN.includes(said) ? await this.#answer(id, nonce) : said
        if (typeof answer !== 'string') return answer
        said = answer
        if (said === 'lost') continue
        if (!OPEN.includes(said)) return said as AskRefusal
        await open.wait(ms, this.#redis.runtime)
      }
      throw new MillraceError('store_unavailable', 'nobody waits for the answer any more')
    } finally {
      this.#open.delete(open)
      signal.removeEventListener('abort', open.look)
      // Its answer would take room until the run ends. Not with the call that gives the answer: its reply may be lost.
      if (said !== 'busy') this.#redis.run(id, SCRIPTS.answered, [nonce, 'forget']).catch(() => {})
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

  /** The answer, or what is said of it. */
  async #answer(id: string, nonce: string): Promise<Uint8Array | string> {
    try {
      const reply = await this.#redis.run(id, SCRIPTS.answered, [nonce])
      if (Buffer.isBuffer(reply) && reply[0] === ANSWER) return new Uint8Array(reply.subarray(1))
      return String(reply)
    } catch (error) {
      if (MillraceError.is(error, 'store_unavailable')) return 'asked'
      throw error
    }
  }
}

/** What is said of an ask that will have an answer: its holder hears it, or the one who takes the run over. */
const OPEN = ['asked', 'abandoned']
/** The first byte of an answer. */
const ANSWER = 61
