import type { Client, ListedRun } from '../../client-sdk/index.ts'
import { Run } from '../../server/runs/run.ts'
import { type Stage, StepReader } from './stage.ts'

type Lists = AsyncIterableIterator<readonly ListedRun[], undefined>
type Reader = StepReader<readonly ListedRun[]>

/** The states in their order: a run never goes back beyond one of these numbers. */
const ORDER = { opening: 0, running: 1, waiting_input: 1, settling: 2, ended: 3 }

/** One client that lists its runs, again and again. */
type Watch = {
  readonly name: string
  readonly principal: string
  readonly sdk: Pick<Client, 'runs'>
  lists: Lists
  reader: Reader
  newest: readonly ListedRun[] | undefined
}

/** Watches of the lists of runs, held against the runs as the server knows them from inside. */
export class ListWatches {
  readonly #stage: Stage
  readonly #watches: Watch[] = []
  /** Every run that a client began, in the order of their beginning. */
  readonly #runs = new Map<string, Run>()
  #isClosing = false

  constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Notes every run that begins. Returns how to stop that. */
  start(): () => void {
    const { begin } = Run.prototype
    const runs = this.#runs
    Run.prototype.begin = function (this: Run, input) {
      if (!this.parent) runs.set(this.id, this)
      begin.call(this, input)
    }
    return () => Object.assign(Run.prototype, { begin })
  }

  /** From now on, this client watches its list. */
  add(name: string, principal: string, sdk: Pick<Client, 'runs'>): void {
    const lists = sdk.runs({ watch: true })
    const watch: Watch = { name, principal, sdk, lists, reader: this.#read(() => watch, lists), newest: undefined }
    this.#watches.push(watch)
  }

  #read(watch: () => Watch, lists: Lists): Reader {
    return new StepReader(
      lists,
      (list) => {
        if (watch().lists === lists) this.#took(watch(), list)
      },
      (error) => {
        if (!(error instanceof Error) || this.#isClosing) return
        this.#stage.fail('watch-ended', `${watch().name} ${error.message}`)
      },
    )
  }

  /** Something that an application may do with a list, now and then. */
  async act(): Promise<void> {
    const { chance } = this.#stage
    if (this.#watches.length === 0) return
    const watch = chance.pick(this.#watches)
    const dice = chance.next()
    if (dice < 0.8) await watch.reader.readOn(1 + chance.int(3))
    else if (dice < 0.9) {
      // It asks once, while everything else goes on. What does not come before the end is nobody's fault.
      watch.sdk.runs().then(
        (list) => this.#check(watch, list),
        () => {},
      )
    } else {
      this.#stage.log(`${watch.name} watches its list anew`)
      void watch.lists.return?.()
      watch.lists = watch.sdk.runs({ watch: true })
      watch.reader = this.#read(() => watch, watch.lists)
      watch.newest = undefined
    }
  }

  #took(watch: Watch, list: readonly ListedRun[]): void {
    this.#check(watch, list)
    const before = new Map(watch.newest?.map((run) => [run.id, run]))
    for (const run of list) {
      const known = before.get(run.id)
      if (known && ORDER[run.state] < ORDER[known.state])
        this.#stage.fail('list-goes-back', `${watch.name} ${run.id} is ${run.state}, was ${known.state}`)
    }
    watch.newest = list
  }

  /** What holds for each list, however old it is. */
  #check({ name, principal }: Watch, list: readonly ListedRun[]): void {
    const order = [...this.#runs.keys()]
    let last = -1
    for (const { id, state, outcome, seq } of list) {
      const run = this.#runs.get(id)
      if (run?.principal.id !== principal) this.#stage.fail('list-leak', `${name} is shown ${id}`)
      const at = order.indexOf(id)
      if (at <= last) this.#stage.fail('list-order', `${name} ${id}`)
      last = at
      if ((state === 'ended') !== (outcome !== undefined)) this.#stage.fail('list-outcome', `${name} ${id} ${state}`)
      if (run && seq > run.log.last) this.#stage.fail('list-ahead', `${name} ${id} has ${seq} of ${run.log.last}`)
    }
  }

  /** Nothing breaks any more: every watch comes to be the truth. */
  async settle(): Promise<void> {
    for (let round = 0; round < 120; round++) {
      for (const { reader } of this.#watches) await reader.readOn(4)
      if (this.#watches.every((watch) => this.#differs(watch) === undefined)) return
      this.#stage.learn(true)
      await this.#stage.flush(60)
      await this.#stage.time.advance(round % 10 === 9 ? 5_000 : 50)
    }
    for (const watch of this.#watches) {
      const difference = this.#differs(watch)
      if (difference !== undefined) this.#stage.fail('list-wrong', `${watch.name}: ${difference}`)
    }
  }

  #differs({ principal, newest }: Watch): string | undefined {
    const mine = [...this.#runs.values()].filter((run) => run.principal.id === principal)
    const real = mine.map((run) => `${run.id} ${run.state} ${run.end?.outcome ?? ''}`).join('\n')
    const listed = newest?.map(({ id, state, outcome = '' }) => `${id} ${state} ${outcome}`).join('\n')
    return real === listed ? undefined : `${listed ?? 'no list'}\nis really\n${real}`
  }

  /** The clients are about to close. */
  closing(): void {
    this.#isClosing = true
  }
}
