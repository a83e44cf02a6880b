import type { LoggedEnd } from '../../server/log/logged-end.ts'
import type { InputAnswer } from '../../server/runs/input-answer.ts'
import { Run } from '../../server/runs/run.ts'
import type { Stage } from './stage.ts'
import { Steering } from './steering.ts'

/** What a run wanted of a child that it began. */
export type Bond = {
  readonly child: string
  readonly parent: string
  /** It passes on what the child says, in order and from the beginning. */
  passes: boolean
  /** It went on after it had seen the child be over. */
  awaited: boolean
  /** It wanted no more of the child. */
  letGo: boolean
  /** What the child answered. */
  answer?: { readonly value: unknown }
}

/** What a worker is asked, or an agent. */
type Asked = { readonly who: string } | { readonly messages: readonly [{ readonly content: string }] }

/** The runs of a server, seen from inside: who began whom, and who goes on. */
export class Ledger {
  readonly runs = new Map<string, Run>()
  /** By the id of the child. */
  readonly bonds = new Map<string, Bond>()
  /** Runs that were cancelled with the right to, by their id or the name under which they were asked for. */
  readonly cancelled = new Set<string>()
  /** What clients have sent to runs, and the runs have accepted. */
  readonly steering: Steering
  readonly #names = new Map<string, string>()
  readonly #stage: Stage
  readonly #children = new Map<Run, Run[]>()
  readonly #ends = new Map<Run, LoggedEnd>()
  readonly #unsettled = new Set<Run>()

  constructor(stage: Stage) {
    this.#stage = stage
    this.steering = new Steering(stage, this)
  }

  /** Notes every run that begins, and every input that one accepts. Returns how to stop that. */
  watch(): () => void {
    const { begin, input: take } = Run.prototype
    const { steering } = this
    Run.prototype.input = function (this: Run, mid, input, bytes, from) {
      const isOver = this.isOver
      const note = (answer: InputAnswer): InputAnswer => {
        if (answer.status === 'accepted') steering.accepted(this, input, isOver)
        else if (answer.status === 'stale') steering.stale(this, input)
        return answer
      }
      const answer = take.call(this, mid, input, bytes, from)
      return answer instanceof Promise ? answer.then(note) : note(answer)
    }
    const note = (run: Run, input: unknown): void => this.#note(run, input)
    Run.prototype.begin = function (this: Run, input) {
      note(this, input)
      begin.call(this, input)
    }
    return () => Object.assign(Run.prototype, { begin, input: take })
  }

  #note(run: Run, input: unknown): void {
    const { value } = input as { value: Asked }
    this.#names.set('who' in value ? value.who : value.messages[0].content, run.id)
    this.runs.set(run.id, run)
    this.#unsettled.add(run)
    const parent = run.parent && this.runs.get(run.parent.id)
    if (parent) this.#children.set(parent, [...this.childrenOf(parent), run])
  }

  /** The id of the run that was asked for under that name. */
  idOf(name: string): string | undefined {
    return this.#names.get(name)
  }

  /** Whether it was cancelled with the right to. */
  isCancelled(id: string): boolean {
    return [...this.cancelled].some((whom) => whom === id || this.idOf(whom) === id)
  }

  childrenOf(run: Run): readonly Run[] {
    return this.#children.get(run) ?? []
  }

  /** The run that all began with. */
  rootOf(id: string): string {
    const parent = this.runs.get(id)?.parent
    return parent ? this.rootOf(parent.id) : id
  }

  /** Whether run `id` is `ancestor`, or was begun by it or by one that it began. */
  isWithin(id: string, ancestor: string): boolean {
    if (id === ancestor) return true
    const parent = this.runs.get(id)?.parent
    return parent !== undefined && this.isWithin(parent.id, ancestor)
  }

  /** Whether nobody has stopped run `id`, and it has not ended. */
  goesOn(id: string): boolean {
    const run = this.runs.get(id)
    return run !== undefined && !run.end && run.state !== 'settling'
  }

  /** Whether run `id`, or one that it or one of those began, waits for the answer to that request. */
  asks(id: string, request: string): boolean {
    return [...this.runs.values()]
      .filter((run) => this.isWithin(run.id, id))
      .some((run) => run.pendingAt(Number.POSITIVE_INFINITY).some((asked) => asked['request'] === request))
  }

  /** What must hold at every moment. */
  check(slots: number): void {
    for (const run of this.#unsettled) {
      this.#checkOneEnd(run)
      for (const child of this.childrenOf(run)) {
        if (run.settled && !child.settled) this.#stage.fail('orphan', `${child.id} outlives ${run.id}`)
        if (run.end && this.goesOn(child.id)) this.#stage.fail('not-stopped', `${child.id} goes on after ${run.id}`)
      }
      if (run.settled) this.#unsettled.delete(run)
    }
    if (this.#unsettled.size !== slots)
      this.#stage.fail('slots', `${this.#unsettled.size} runs go on, and ${slots} slots are taken`)
  }

  #checkOneEnd(run: Run): void {
    if (!run.end) return
    const known = this.#ends.get(run) ?? run.end
    if (known !== run.end) this.#stage.fail('two-ends', run.id)
    this.#ends.set(run, known)
  }

  /** What must hold when all is over. */
  checkOver(): void {
    for (const run of this.runs.values()) {
      if (!run.settled) this.#stage.fail('never-settled', run.id)
      this.#checkOneEnd(run)
    }
  }
}
