import cluster, { type Worker } from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { listenError } from '../transports/listen-error.ts'
import { EXIT, type ExitCode } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import type { Output } from './output.ts'
import { Scrapes } from './scrapes.ts'
import type { FromNode, ToNode } from './serve-node.ts'

/** A node that ends so soon after its beginning has ended early, in milliseconds. */
const EARLY_MS = 10_000
/** How often in a row one may end early. */
const MOST_EARLY = 5
/** How long after an early end the next one begins, in milliseconds. It doubles with each in a row. */
const AGAIN_MS = 200
/** How long after the end of its drain a node may take, in milliseconds. Then it is killed. */
const LATE_MS = 15_000
/** How long the last words of a node may take that has ended, in milliseconds. */
const LAST_WORDS_MS = 1_000

/** What the nodes of one machine are begun with. */
export type NodesOptions = {
  /** How many. */
  readonly count: number
  /** The arguments of `millrace serve`, which each of them has. */
  readonly args: readonly string[]
  /** The time limit for runs to end when they drain, in seconds. */
  readonly drainS: number
}

/** A place for a node, and the process that has it now. */
type Place = { readonly n: number; worker: Worker | undefined; earlyEnds: number }

/** How a process ended. */
type Ended = { readonly code: number | null; readonly signal: string | null }

/**
 * `millrace serve --workers`: nodes of one machine, which share its port. Node's cluster module gives each connection to
 * one of them. This process serves nothing itself: it begins nodes, again when one has ended, and lets all of them drain.
 */
export async function serveNodes(options: NodesOptions, output: Output): Promise<ExitCode> {
  return new Nodes(options, output).serve()
}

class Nodes {
  readonly #options: NodesOptions
  readonly #output: Output
  readonly #token = randomBytes(16).toString('hex')
  readonly #places: readonly Place[]
  readonly #scrapes = new Scrapes<Worker>(tell)
  /** The first node has listened: from now on, what is said names the node. */
  #hasBegun = false
  #isLeaving = false
  #exitCode: ExitCode = EXIT.ok
  #hasToLeave = (): void => {}
  /** Resolves when the nodes have to end. */
  readonly #leaving = new Promise<void>((resolve) => (this.#hasToLeave = resolve))
  #late: NodeJS.Timeout | undefined

  constructor(options: NodesOptions, output: Output) {
    this.#options = options
    this.#output = output
    this.#places = Array.from({ length: options.count }, (_, i) => ({ n: i + 1, worker: undefined, earlyEnds: 0 }))
  }

  async serve(): Promise<ExitCode> {
    cluster.setupPrimary({ args: ['serve', ...this.#options.args], silent: true })
    onInterrupt((times) => (times > 1 ? this.#quit() : this.#leave()))
    const [first, ...others] = this.#places
    // What is wrong with the options is wrong at all of them. The first one says so.
    const begun = this.#begin(first!)
    const greeting = await begun.listens
    if (greeting === undefined) {
      const { code } = await begun.ended
      return this.#isLeaving && code === EXIT.ok ? EXIT.ok : exitCodeOf(code)
    }
    this.#hasBegun = true
    const rest = others.map((place) => ({ place, ...this.#begin(place) }))
    await Promise.race([Promise.all(rest.map(({ listens }) => listens)), this.#leaving])
    if (!this.#isLeaving) await this.#output.answer(greeting)
    await Promise.all([{ place: first!, ...begun }, ...rest].map(({ place, ended }) => this.#keep(place, ended)))
    clearTimeout(this.#late)
    this.#output.note('drained')
    return this.#exitCode
  }

  /** Begins nodes at a place until all have to end. */
  async #keep(place: Place, first: Promise<Ended>): Promise<void> {
    for (let ended = first; ; ) {
      const begunAt = performance.now()
      const how = await ended
      if (this.#isLeaving) {
        if (how.code !== EXIT.ok) this.#exitCode = EXIT.failed
        return
      }
      place.earlyEnds = performance.now() - begunAt < EARLY_MS ? place.earlyEnds + 1 : 0
      if (place.earlyEnds === MOST_EARLY) {
        this.#giveUp(place, how)
        return
      }
      this.#output.fail(`worker ${place.n} ended (${howWords(how)}): another one takes its place`)
      if (place.earlyEnds > 0) await Promise.race([wait(AGAIN_MS * 2 ** (place.earlyEnds - 1)), this.#leaving])
      if (this.#isLeaving) return
      const begun = this.#begin(place)
      void begun.listens.then((greeting) => {
        if (greeting !== undefined) this.#output.note(`worker ${place.n} listens again`)
      })
      ended = begun.ended
    }
  }

  /** Begins one node. `listens` resolves with its greeting, or with nothing when it ends before. */
  #begin(place: Place): { listens: Promise<string | undefined>; ended: Promise<Ended> } {
    const worker = cluster.fork()
    place.worker = worker
    this.#pass(place, worker)
    const ended = endOf(worker).finally(() => (place.worker = undefined))
    worker.on('exit', () => this.#scrapes.remove(worker))
    const listens = new Promise<string | undefined>((resolve) => {
      worker.on('message', (message: FromNode) => {
        switch (message.kind) {
          case 'hears':
            return tell(worker, this.#isLeaving ? { kind: 'drain' } : { kind: 'begin', token: this.#token, n: place.n })
          case 'listens':
            this.#scrapes.add(worker)
            return resolve(message.greeting)
          case 'scrape':
            return this.#scrapes.begin(worker, message.id)
          case 'metrics':
            return this.#scrapes.take(worker, message.scrape, message.text)
        }
      })
      void ended.then(() => resolve(undefined))
    })
    // It is gone: its end says so.
    worker.on('error', () => {})
    return { listens, ended }
  }

  /** Passes on what a node says. */
  #pass({ n }: Place, { process: child }: Worker): void {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => void this.#output.answer(text))
    if (!child.stderr) return
    createInterface({ input: child.stderr }).on('line', (line) => {
      const isFailure = line.startsWith('millrace: ')
      const text = `${this.#hasBegun ? `worker ${n}: ` : ''}${isFailure ? line.slice('millrace: '.length) : line}`
      if (isFailure) this.#output.fail(text)
      else this.#output.note(text)
    })
  }

  #giveUp({ n }: Place, how: Ended): void {
    this.#exitCode = EXIT.failed
    const times = `${MOST_EARLY} times in a row, each within ${EARLY_MS / 1_000} s of its start`
    this.#output.fail(`worker ${n} ended ${times} (${howWords(how)}): the others are drained`)
    this.#leave()
  }

  /** Lets all nodes drain. */
  #leave(): void {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#hasToLeave()
    for (const { worker } of this.#places) if (worker) tell(worker, { kind: 'drain' })
    this.#late = setTimeout(
      () => {
        for (const { n, worker } of this.#places) {
          if (!worker) continue
          this.#output.fail(`worker ${n} did not end in time: it is killed`)
          worker.process.kill('SIGKILL')
        }
      },
      this.#options.drainS * 1_000 + LATE_MS,
    )
  }

  #quit(): never {
    this.#output.fail('quit at once')
    for (const { worker } of this.#places) worker?.process.kill('SIGKILL')
    process.exit(EXIT.interrupted)
  }
}

/**
 * A port that is free now, for one that was asked for as 0: all nodes must name the same.
 * @param host the address at which it is.
 * @throws MillraceError `unavailable` if it is no address of this machine.
 */
export async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host)
  await once(server, 'listening').catch((cause: unknown) => {
    throw listenError(cause as NodeJS.ErrnoException, host, 0)
  })
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

function tell(worker: Worker, message: ToNode): void {
  // One that is gone has ended, or ends by itself.
  if (worker.isConnected()) worker.send(message, () => {})
}

/** Resolves when a process has ended and its last words were read. */
async function endOf({ process: child }: Worker): Promise<Ended> {
  const read = once(child, 'close').catch(() => {})
  const [code, signal] = (await once(child, 'exit').catch(() => [null, null])) as [number | null, string | null]
  await Promise.race([read, wait(LAST_WORDS_MS)])
  return { code, signal }
}

function howWords({ code, signal }: Ended): string {
  return signal ?? `exit code ${code ?? 'unknown'}`
}

function exitCodeOf(code: number | null): ExitCode {
  return Object.values(EXIT).find((known) => known === code && known !== EXIT.ok) ?? EXIT.failed
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
