import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Receipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { runEndOf } from '../log/logged-end.ts'
import type { FoundRun } from '../sessions/registry.ts'
import type { Caller } from './caller.ts'
import { EventReader } from './event-reader.ts'
import type { Cancelled, RunAccess } from './run-access.ts'

type RunsParts = { readonly runtime: Runtime; readonly limits: Limits; readonly access: RunAccess }

const INPUT_ID_BYTES = 16

/** The runs of one caller, for code of the server that acts in its name. It has the members of the client that it needs. */
export class CallerRuns {
  readonly #parts: RunsParts
  readonly #caller: Caller

  constructor(parts: RunsParts, caller: Caller) {
    this.#parts = parts
    this.#caller = caller
  }

  /** Starts a run. A refusal rejects its `opened`. */
  start(actor: string, input: unknown, options: { onDetach: 'continue' }): CallerRun {
    const { access } = this.#parts
    return new CallerRun(this.#parts, this.#caller, access.start(this.#caller, { actor, input, options }), 0)
  }

  /** Reads a run from behind an item. A refusal rejects its `opened`. */
  attach(_actor: string, run: string, { after }: { after: number }): CallerRun {
    this.#caller.quota.takeStart()
    const from = { after, gen: undefined }
    return new CallerRun(this.#parts, this.#caller, this.#parts.access.find(this.#caller, run, from), after)
  }
}

/** A run as its caller has it. Its reading never holds it back. */
export class CallerRun implements AsyncIterable<StreamEvent, undefined> {
  /** Its id, once it is found. Rejects with the reason of a refusal. */
  readonly opened: Promise<{ id: string }>
  /** Its end, once that was read. Rejects when the reading is over before. */
  readonly end: Promise<RunEnd>
  readonly #parts: RunsParts
  readonly #caller: Caller
  readonly #found: Promise<FoundRun>
  readonly #after: number
  #ended!: (end: RunEnd) => void
  #lost!: (error: MillraceError) => void
  #isLeft = false
  #wake = (): void => {}

  constructor(parts: RunsParts, caller: Caller, found: Promise<FoundRun>, after: number) {
    this.#parts = parts
    this.#caller = caller
    this.#found = found
    this.#after = after
    this.opened = found.then(({ run }) => ({ id: run.id }))
    this.end = new Promise((resolve, reject) => {
      this.#ended = resolve
      this.#lost = reject
    })
    this.opened.catch(() => {})
    this.end.catch(() => {})
  }

  /** Its events. They end with the run, or when it is left. @throws MillraceError why it is read no more. */
  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, undefined> {
    const { runtime, limits } = this.#parts
    let reader: EventReader | undefined
    try {
      const { run } = await this.#found
      const from = { after: this.#after, gen: undefined }
      const settings = { from, policy: 'log', own: false, credit: limits.initialCredit } as const
      reader = new EventReader(run, runtime, limits, settings, () => this.#wake())
      while (!this.#isLeft) {
        const step = reader.take()
        if (step?.kind === 'event') yield step.event
        else if (step?.kind === 'dismissed') throw step.error
        else if (step) {
          this.#ended(runEndOf(step.end))
          return undefined
        } else await new Promise<void>((resolve) => (this.#wake = () => runtime.nextTurn(resolve)))
      }
      return undefined
    } finally {
      reader?.leave()
      this.#lost(new MillraceError('unavailable', 'the run is read no more'))
    }
  }

  /** Leaves the run, which goes on. */
  detach(): void {
    this.#isLeft = true
    this.#wake()
  }

  /** Stops the run, and waits for its receipt. @throws MillraceError `forbidden`. */
  async cancel({ note }: { note?: string } = {}): Promise<Partial<Receipt> & Omit<Cancelled, 'receipt'>> {
    const { receipt, ...how } = await this.#parts.access.cancel(this.#caller, await this.#found, 'user', note)
    return { ...receipt, ...how }
  }

  /**
   * Sends the run an input.
   * @throws MillraceError `not_found` when the run wants none, `invalid_input`, `overloaded`, `forbidden`.
   */
  async send(type: string, data: unknown): Promise<{ status: string }> {
    const { access, runtime } = this.#parts
    const id = Buffer.from(runtime.randomBytes(INPUT_ID_BYTES)).toString('base64url')
    const { status, note } = await access.input(this.#caller, await this.#found, { id, type, data })
    const code = REFUSALS[status]
    if (code) throw new MillraceError(code, note ?? `the run does not take this input: ${status}`)
    return { status }
  }
}

const REFUSALS: { readonly [status: string]: 'not_found' | 'invalid_input' | 'overloaded' | undefined } = {
  unwanted: 'not_found',
  invalid: 'invalid_input',
  busy: 'overloaded',
}
