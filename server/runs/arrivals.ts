/** How many steps are taken behind one touch of all that they need. More would push the first out of the cache again. */
const AHEAD = 8

/** Takes the steps of one actor. */
export interface StepTaker<Step> {
  /** Reads a field of each object that a step needs. What it returns is used for nothing. */
  touch(): number
  /** It must not throw. */
  take(step: Step): void
}

/**
 * The steps of actors that come in one moment, as when one timer or one socket wakes many of them. They are taken in the
 * order in which they came, in a microtask behind the last of them.
 *
 * Between two steps of an actor come those of a thousand others, and its objects are in no cache of the processor any
 * more. Those of the next few are therefore touched before the first of them is taken: the processor fetches them at the
 * same time, in place of one after another. It is the group prefetching of Chen, Ailamaki, Gibbons and Mowry, "Improving
 * Hash Join Performance through Prefetching", ICDE 2004.
 */
export class Arrivals<Step> {
  #takers: StepTaker<Step>[] = []
  #steps: Step[] = []
  /** Reads whose result nobody uses are left out by the compiler. */
  #touched = 0

  add(taker: StepTaker<Step>, step: Step): void {
    this.#steps.push(step)
    if (this.#takers.push(taker) === 1) queueMicrotask(this.#takeAll)
  }

  readonly #takeAll = (): void => {
    const takers = this.#takers
    const steps = this.#steps
    this.#takers = []
    this.#steps = []
    for (let first = 0; first < takers.length; first += AHEAD) {
      const end = Math.min(takers.length, first + AHEAD)
      if (end - first > 1) this.#touch(takers, first, end)
      for (let i = first; i < end; i++) (takers[i] as StepTaker<Step>).take(steps[i] as Step)
    }
  }

  #touch(takers: readonly StepTaker<Step>[], first: number, end: number): void {
    let touched = 0
    for (let i = first; i < end; i++) touched ^= (takers[i] as StepTaker<Step>).touch()
    this.#touched = touched
  }
}
