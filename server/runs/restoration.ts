import { type ParkedRun, unpackParked } from './parked-run.ts'
import type { ReadableRun } from './readable-run.ts'

/** What a run does again in this process: it asks a request, begins a child, gives a call to a client. */
export type Step = 'request' | 'child' | 'call'

/** An input that is for a child. */
type InputBelow = Parameters<ReadableRun['input']>

/**
 * What a tree of runs has still to do again before it stands where another process left it. What clients send for a step
 * that was not done again yet waits until then.
 */
export class Restoration {
  /** Resolves when all of it was done again, or never will be. */
  readonly over: Promise<void>
  /** The ids of all tool calls, and of all runs below the first. */
  readonly calls: readonly string[]
  readonly children: readonly string[]
  readonly #expected = new Set<string>()
  /** Accepted in another process for runs below the first, by their ids. */
  readonly #inputs = new Map<string, InputBelow[]>()
  readonly #done: () => void
  #resolve = (): void => {}

  /** @param done called when `over` resolves, in the same loop turn. */
  constructor(parked: ParkedRun, done: () => void) {
    this.#done = done
    this.over = new Promise((resolve) => (this.#resolve = resolve))
    const steps = [...stepsOf(parked)]
    for (const [step, id] of steps) this.#expected.add(nameOf(step, id))
    this.calls = callsOf(parked)
    this.children = steps.flatMap(([step, id]) => (step === 'child' ? [id] : []))
  }

  get isOver(): boolean {
    return this.#expected.size === 0
  }

  expects(step: Step, id: string): boolean {
    return this.#expected.has(nameOf(step, id))
  }

  /** A step was done again. Others do nothing here. */
  reached(step: Step, id: string): void {
    if (!this.#expected.delete(nameOf(step, id)) || !this.isOver) return
    this.#resolve()
    this.#done()
  }

  /** A run is over: it does nothing of this any more. */
  giveUp(parked: ParkedRun): void {
    for (const [step, id] of stepsOf(parked)) this.reached(step, id)
  }

  /**
   * A run below the first one is let go: what is left of this for it and the runs below it.
   * @param done as for the constructor.
   * @returns undefined when that was done again.
   */
  handOver(parked: ParkedRun, done: () => void): Restoration | undefined {
    const part = new Restoration(parked, done)
    for (const name of part.#expected) if (!this.#expected.has(name)) part.#expected.delete(name)
    for (const child of part.children) {
      const inputs = this.#inputs.get(child)
      if (inputs) part.#inputs.set(child, inputs)
    }
    return part.isOver ? undefined : part
  }

  /** Keeps an input for a child until that goes on. */
  keepInput(child: string, input: InputBelow): void {
    this.#inputs.set(child, [...(this.#inputs.get(child) ?? []), input])
  }

  /** A child goes on: it takes what was kept for it. */
  begun(child: ReadableRun): void {
    for (const input of this.#inputs.get(child.id) ?? []) takeKept(child, input)
    this.#inputs.delete(child.id)
    this.reached('child', child.id)
  }
}

/** Gives a run an input that the store has for it. One that is void here is still there, for the process that has the run. */
export function takeKept(run: Pick<ReadableRun, 'input'>, input: InputBelow): void {
  Promise.resolve(run.input(...input)).catch(() => {})
}

function nameOf(step: Step, id: string): string {
  return `${step} ${id}`
}

/** Everything that a tree of runs has to do again. */
function* stepsOf({ requests, calls, children }: ParkedRun): Generator<[Step, id: string]> {
  for (const { id } of requests) yield ['request', id]
  for (const call of calls) if (call.for === 'client') yield ['call', call.id]
  for (const { id, packed } of children) {
    yield ['child', id]
    yield* stepsOf(unpackParked(packed))
  }
}

function callsOf({ calls, children }: ParkedRun): string[] {
  return [...calls.map(({ id }) => id), ...children.flatMap(({ packed }) => callsOf(unpackParked(packed)))]
}
