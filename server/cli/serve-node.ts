import cluster from 'node:cluster'
import { EXIT, Failure } from './exit.ts'
import type { InterruptSource } from './interrupts.ts'
import type { Options } from './server-process.ts'

/** What the process that began a node tells it. */
export type ToNode =
  /** Goes ahead of everything else. `token`: a random one that clients must send, unless another is set. */
  | { readonly kind: 'begin'; readonly token: string }
  /** Ends it, in an orderly way. */
  | { readonly kind: 'drain' }

/** What a node tells the process that began it. */
export type FromNode =
  /** It hears what it is told. What came before was lost. */
  | { readonly kind: 'hears' }
  /** It takes connections. `greeting`: what a server prints when it begins. */
  | { readonly kind: 'listens'; readonly greeting: string }

/**
 * This process as one of the nodes of `millrace serve --workers`: what it hears from the process that began it, and when it
 * drains. That process alone hears the Ctrl-C of the terminal, which all of them get.
 */
export class ServedNode implements InterruptSource {
  /** The random token, which is the same at all nodes. */
  readonly token: string
  readonly env: InterruptSource['env'] = {}
  readonly #listeners = new Set<() => void>()
  #isDraining = false

  /** The node that this process is. Undefined: it is none, and may begin some. */
  static async join(): Promise<ServedNode | undefined> {
    if (!cluster.isWorker) return undefined
    process.on('SIGINT', () => {})
    const told = await new Promise<ToNode>((resolve) => {
      process.once('message', resolve)
      tell({ kind: 'hears' })
    })
    if (told.kind === 'drain') process.exit(EXIT.ok)
    return new ServedNode(told.token)
  }

  private constructor(token: string) {
    this.token = token
    // A node whose supervisor died drains, too. Without this, Node would end the process at once.
    if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
    const drain = (): void => this.#drain()
    process.on('message', (message: ToNode) => {
      if (message.kind === 'drain') drain()
    })
    process.on('disconnect', drain)
    process.on('SIGTERM', drain)
  }

  on(_signal: 'SIGINT' | 'SIGTERM', listener: () => void): void {
    this.#listeners.add(listener)
  }

  off(_signal: 'SIGINT' | 'SIGTERM', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  /** It takes connections now. The greeting of the first node stands for all. */
  listens(greeting: string): void {
    tell({ kind: 'listens', greeting })
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
  if (metrics) refuse('has metrics for each process, and one address for all: leave metrics out')
}
