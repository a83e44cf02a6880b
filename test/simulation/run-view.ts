import type { MillraceError, Run, StreamEvent } from '../../client-sdk/index.ts'
import { type Stage, StepReader } from './stage.ts'

type Gap = Extract<StreamEvent, { type: 'gap' }>

/** What a view tells its world. */
export type ViewCallbacks = {
  readonly stage: Stage
  /** Nothing of what a reader has seen may become void. */
  readonly isLogged: boolean
  /** An event has come. */
  took(view: RunView, event: StreamEvent): void
}

/** A reader of a run, and what it has of it: without what a restart has made void. */
export class RunView {
  readonly name: string
  readonly run: Run
  /** Whether it may steer the run. */
  readonly own: boolean
  readonly reader: StepReader<StreamEvent>
  readonly #callbacks: ViewCallbacks
  /** Children that have not ended, by what they are called. */
  readonly agents = new Map<string, string>()
  /** Requests that it has seen and not answered. */
  readonly requests = new Set<string>()
  /** The store has the run. */
  readonly isStored: boolean
  /** It wants no more of it. */
  left = false
  error: MillraceError | undefined
  #events: StreamEvent[] = []
  #isPartial = false

  constructor(callbacks: ViewCallbacks, name: string, run: Run, own: boolean, isStored: boolean) {
    this.#callbacks = callbacks
    this.name = name
    this.run = run
    this.own = own
    this.isStored = isStored
    this.reader = new StepReader(
      run[Symbol.asyncIterator](),
      (event) => (event.type === 'gap' ? this.#missed(event) : this.#took(event)),
      (error) => {
        this.error = error as MillraceError | undefined
        callbacks.stage.log(`${name} over ${this.error?.message ?? ''}`)
      },
    )
  }

  get events(): readonly StreamEvent[] {
    return this.#events
  }

  /** What came before a restart is in the log of another run. */
  get isPartial(): boolean {
    return this.#isPartial
  }

  get isOver(): boolean {
    return this.left || this.reader.done
  }

  #took(event: StreamEvent): void {
    // A late reader first gets the requests that are still open.
    if (this.#isPartial && this.#events.length === 0 && event.type === 'request')
      return void this.requests.add(event.id)
    const last = this.#events.at(-1)
    if (last && event.seq <= last.seq) this.#callbacks.stage.fail('item-twice', `${this.name} item ${event.seq}`)
    this.#events.push(event)
    this.#note(event)
    this.#callbacks.took(this, event)
  }

  #note(event: StreamEvent): void {
    if (event.type === 'agent.start') this.agents.set(event.agent ?? '', event.name)
    if (event.type === 'agent.end') this.agents.delete(event.agent ?? '')
    if (event.type === 'request') this.requests.add(event.id)
  }

  #missed({ from, next, reason }: Gap): void {
    const { stage, isLogged } = this.#callbacks
    const { seq: position = 0 } = this.#events.at(-1) ?? {}
    stage.log(`${this.name} gap ${from} to ${next} ${reason}`)
    if (!this.isStored && from === 1 && reason === 'retention' && position === 0) {
      this.#isPartial = true
      return
    }
    if (reason !== 'rewound' || next > position + 1 || (isLogged && next <= position))
      return void stage.fail('gap', `${this.name} ${from} to ${next} ${reason}, it had ${position}`)
    this.#events = this.#events.filter(({ seq }) => seq < next)
    this.agents.clear()
    for (const event of this.#events) this.#note(event)
  }
}
