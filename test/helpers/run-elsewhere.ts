import { EVENT } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { RunInput } from '../../server/actors/actor.ts'
import type { Principal } from '../../server/actors/principal.ts'
import { Log } from '../../server/log/log.ts'
import type { LoggedEnd } from '../../server/log/logged-end.ts'
import { packPayload } from '../../server/log/payload.ts'
import type { Reader } from '../../server/log/readers.ts'
import type { InputAnswer } from '../../server/runs/input-answer.ts'
import type { ReadableRun } from '../../server/runs/readable-run.ts'

type Asked =
  | { what: 'cancel'; why: CancelCause }
  | { what: 'call' | 'agent'; id: string; why: CancelCause; answer: (isGoingOn: boolean) => void }
  | { what: 'input'; mid: string; input: RunInput; answer: (answer: InputAnswer) => void }

/**
 * A run that another process would hold: nothing of it is executed here. What it says arrives when the test says so, and
 * what it is asked is answered when the test does.
 */
export class RunElsewhere implements ReadableRun {
  readonly id = 'r_elsewhere'
  readonly actorName = 'elsewhere'
  readonly principal: Principal
  readonly log: Log = new Log(DEFAULT_LIMITS)
  end: LoggedEnd | undefined
  /** What was asked of it, in order. */
  readonly asked: Asked[] = []
  readonly readers = new Set<Reader>()
  /** Times that a reader had moved. */
  moves = 0

  constructor(principal: string) {
    this.principal = { id: principal }
  }

  /** Texts arrive. */
  texts(...texts: string[]): void {
    for (const text of texts) this.log.appendText(0, text, Date.now())
    this.#wake(false)
  }

  /** An event of the application's own arrives. */
  data(name: string, value: unknown): void {
    const data: WireMap = { name, value }
    this.log.appendEvent(EVENT.data, packPayload(data, DEFAULT_LIMITS), data, Date.now())
    this.#wake(true)
  }

  /** Its holder is another now: what it had said from item `first` on is void. */
  newLife(first: number): void {
    this.log.newLife(first)
    for (const { cursor } of this.readers) cursor.enterLife(first)
    this.#wake(true)
  }

  /** The end arrives. */
  ends(outcome: LoggedEnd['outcome'], data: WireMap): void {
    this.end = { seq: this.log.next, outcome, packed: packPayload(data, DEFAULT_LIMITS) }
    this.#wake(true)
  }

  join(reader: Reader): void {
    this.readers.add(reader)
  }

  rest(reader: Reader): void {
    reader.resting = true
  }

  leave(reader: Reader): void {
    this.readers.delete(reader)
  }

  reconsider(): void {
    this.moves++
  }

  pendingAt(): WireMap[] {
    return []
  }

  cancel(why: CancelCause): void {
    this.asked.push({ what: 'cancel', why })
  }

  cancelCall(id: string, why: CancelCause): Promise<boolean> {
    return new Promise((answer) => this.asked.push({ what: 'call', id, why, answer }))
  }

  cancelAgent(id: string, why: CancelCause): Promise<boolean> {
    return new Promise((answer) => this.asked.push({ what: 'agent', id, why, answer }))
  }

  input(mid: string, input: RunInput): Promise<InputAnswer> {
    return new Promise((answer) => this.asked.push({ what: 'input', mid, input, answer }))
  }

  #wake(urgent: boolean): void {
    for (const reader of [...this.readers]) {
      if (!reader.resting && !urgent) continue
      reader.resting = false
      reader.wake(urgent)
    }
  }
}
