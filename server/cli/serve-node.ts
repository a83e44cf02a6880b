import cluster from 'node:cluster'
import type { Metrics } from '../metrics/metrics.ts'
import { EXIT, Failure } from './exit.ts'
import type { Interrupt, InterruptSource } from './interrupts.ts'
import { NodeMetrics } from './node-metrics.ts'
import type { Options } from './server-process.ts'

/** What the process that began a node tells it. */
export type ToNode =
  /** Goes ahead of everything else. `token`: a random one that clients must send, unless another is set. `n`: its number. */
  | { readonly kind: 'begin'; readonly token: string; readonly n: number }
  /** Ends it, in an orderly way. */
  | { readonly kind: 'drain' }
  /** Asks for its metrics. */
  | { readonly kind: 'scrape'; readonly scrape: number }
  /** The metrics of all nodes, which it has asked for. */
  | { readonly kind: 'scraped'; readonly id: number; readonly texts: readonly string[] }

/** What a node tells the process that began it. */
export type FromNode =
  /** It hears what it is told. What came before was lost. */
  | { readonly kind: 'hears' }
  /** It takes connections. `greeting`: what a server prints when it begins. */
  | { readonly kind: 'listens'; readonly greeting: string }
  /** Asks for the metrics of all nodes. */
  | { readonly kind: 'scrape'; readonly id: number }
  /** Its metrics. Undefined: it has none, or they fail. */
  | { readonly kind: 'metrics'; readonly scrape: number; readonly text: string | undefined }

/** How long it waits for the metrics of the others, in milliseconds: longer than the process that asks them all waits. */
const ALL_METRICS_MS = 5_000

/**
 * This process as one of the nodes of `millrace serve --workers`: what it hears from the process that began it, and when it
 * drains. That process alone hears the Ctrl-C of the terminal, which all of them get.
 */
export class ServedNode implements InterruptSource {
  /** The random token, which is the same at all nodes. */
  readonly token: string
  /** Which of the nodes it is, from 1. One that takes the place of another has its number. */
  readonly n: number
  readonly env: InterruptSource['env'] = {}
  readonly #listeners = new Set<() => void>()
  readonly #scrapes = new Map<number, (texts: readonly string[] | undefined) => void>()
  #lastScrape = 0
  #metrics: Metrics | undefined
  #isDraining = false

  /** The node that this process is. Undefined: it is none, and may begin some. */
  static async join(): Promise<ServedNode | undefined> {
    if (!cluster.isWorker) return undefined
    process.on('SIGINT', () => {})
    process.on('SIGHUP', () => {})
    const told = await new Promise<ToNode>((resolve) => {
      process.once('message', resolve)
      tell({ kind: 'hears' })
    })
    if (told.kind !== 'begin') process.exit(EXIT.ok)
    return new ServedNode(told.token, told.n)
  }

  private constructor(token: string, n: number) {
    this.token = token
    this.n = n
    // A node whose supervisor died drains, too. Without this, Node would end the process at once.
    if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
    const drain = (): void => this.#drain()
    process.on('message', (message: ToNode) => {
      if (message.kind === 'drain') drain()
      else if (message.kind === 'scrape') void this.#report(message.scrape)
      else if (message.kind === 'scraped') this.#scrapes.get(message.id)?.(message.texts)
    })
    process.on('disconnect', () => {
      for (const answer of this.#scrapes.values()) answer(undefined)
      drain()
    })
    process.on('SIGTERM', drain)
  }

  on(_signal: Interrupt, listener: () => void): void {
    this.#listeners.add(listener)
  }

  off(_signal: Interrupt, listener: () => void): void {
    this.#listeners.delete(listener)
  }

  /** It takes connections now. The greeting of the first node stands for all. */
  listens(greeting: string): void {
    tell({ kind: 'listens', greeting })
  }

  /** The metrics of all nodes, at each of them. @param own those of this node. */
  shareMetrics(own: Metrics): Metrics {
    this.#metrics = own
    return new NodeMetrics(own, () => this.#scrapeAll())
  }

  /** The metrics of all nodes. Undefined: the process that would ask them is gone, or does not answer. */
  async #scrapeAll(): Promise<readonly string[] | undefined> {
    if (!process.connected) return undefined
    const id = ++this.#lastScrape
    let late: NodeJS.Timeout | undefined
    try {
      return await new Promise<readonly string[] | undefined>((resolve) => {
        late = setTimeout(resolve, ALL_METRICS_MS, undefined)
        this.#scrapes.set(id, resolve)
        tell({ kind: 'scrape', id })
      })
    } finally {
      clearTimeout(late)
      this.#scrapes.delete(id)
    }
  }

  async #report(scrape: number): Promise<void> {
    const found = await this.#metrics?.text().catch(() => undefined)
    tell({ kind: 'metrics', scrape, text: found?.text })
  }

  /** Once, whoever asks for it. */
  #drain(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    // It serves nothing yet.
    if (this.#listeners.size === 0) process.exit(EXIT.ok)
    for (const listener of this.#listeners) listener()
  }
}

function tell(message: FromNode): void {
  if (process.connected) process.send?.(message)
}

/**
 * Refuses what several nodes cannot share.
 * @throws Failure whose one line says what to do.
 */
export function checkNode({ store, transport, metrics }: Options): void {
  const refuse = (why: string): never => {
    throw new Failure(EXIT.usage, `--workers ${why}`)
  }
  if (!store?.shared)
    refuse('needs a store that processes share: add --redis URL, set MILLRACE_REDIS, or leave --workers out')
  if (transport && transport.name !== 'ws')
    refuse(`needs the transport ws: ${transport.name} cannot share its port; start several servers behind a proxy`)
  if (metrics)
    refuse('needs metrics that know of all processes: leave metrics out of the config file, and add --metrics')
}
