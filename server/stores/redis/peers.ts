import type { Peers } from '../run-store.ts'

/** The first byte of a question, and of an answer. The id of a run, which the same channel says, begins with neither. */
const QUESTION = 63
const ANSWER = 61
/** Stands between the name of a question and what is said. */
const SPACE = 32

/** What peers take from their Redis. */
export type PeerMessagesCallbacks = {
  /** The name of this process. */
  readonly node: string
  /** Says something on the channel of a process. Nobody knows whether it is heard. */
  say(node: string, message: Buffer): Promise<unknown>
  /** Answers what others ask. Undefined: nothing is said. */
  answer(question: Uint8Array): Uint8Array | undefined
}

/** What the processes that share a Redis ask each other over their channels. Nothing of it is stored. */
export class PeerMessages implements Pick<Peers, 'ask'> {
  readonly #redis: PeerMessagesCallbacks
  readonly #open = new Map<string, (answer: Uint8Array) => void>()
  #last = 0

  constructor(redis: PeerMessagesCallbacks) {
    this.#redis = redis
  }

  async ask(node: string, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (signal.aborted) return undefined
    const name = `${this.#redis.node}/${++this.#last}`
    let giveUp = (): void => {}
    try {
      const answered = new Promise<Uint8Array | undefined>((resolve) => {
        giveUp = () => resolve(undefined)
        this.#open.set(name, resolve)
        signal.addEventListener('abort', giveUp)
      })
      await this.#redis.say(node, message(QUESTION, name, question))
      return await answered
    } finally {
      this.#open.delete(name)
      signal.removeEventListener('abort', giveUp)
    }
  }

  /** Takes what was said on the channel of this process. Returns false for what is neither a question nor an answer. */
  took(said: Buffer): boolean {
    if (said[0] !== QUESTION && said[0] !== ANSWER) return false
    const end = said.indexOf(SPACE)
    const name = said.toString('utf8', 1, end)
    const content = new Uint8Array(said.subarray(end + 1))
    if (said[0] === ANSWER) this.#open.get(name)?.(content)
    else this.#answer(name, content)
    return true
  }

  #answer(name: string, question: Uint8Array): void {
    let answer: Uint8Array | undefined
    try {
      answer = this.#redis.answer(question)
    } catch {
      // A process of another release asks what this one cannot read.
    }
    if (!answer) return
    // Who has not heard it asks again.
    this.#redis.say(name.slice(0, name.indexOf('/')), message(ANSWER, name, answer)).catch(() => {})
  }
}

function message(kind: number, name: string, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(kind), Buffer.from(name), Buffer.of(SPACE), content])
}
