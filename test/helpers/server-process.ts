import type { Limits } from '../../protocol/limits.ts'
import { Child } from './child-process.ts'
import { PATIENCE_MS } from './patience.ts'
import { type WireClient, type WireClientOptions, wireClient } from './wire-client.ts'

/** What a server process is at a moment, garbage collected before. */
export type Measured = {
  rss: number
  heap: number
  fds: number
  liveRuns: number
  connections: number
  /** The longest time its event loop stood still since it was asked last. */
  pauseMs: number
  /** The errors that its `onError` got, and those that were not caught. */
  failures: readonly string[]
}

export type MeasuredReport = { type: 'listening'; url: string }
export type MeasuredCommand = { type: 'measure' }
type MeasuredChild = Child<MeasuredReport, MeasuredCommand>

const MIB = 1_048_576

/** A server in a process of its own, so that its memory and files can be measured. It serves the demo actors. */
export class ServerProcess implements AsyncDisposable {
  readonly url: string
  readonly #child: MeasuredChild

  static async start(limits: Partial<Limits> = {}): Promise<ServerProcess> {
    const child: MeasuredChild = new Child('server-process-main.ts', limits)
    const { url } = await child.said('listening')
    return new ServerProcess(child, url)
  }

  private constructor(child: MeasuredChild, url: string) {
    this.#child = child
    this.url = url
  }

  /** A client that is `auth`, by default alice. */
  client(options: WireClientOptions = {}): Promise<WireClient> {
    return wireClient(this.url, options)
  }

  measure(): Promise<Measured> {
    return this.#child.ask({ type: 'measure' })
  }

  /** Measures once all clients have gone but `connections`, and all runs but `liveRuns`. */
  async quiet(connections = 0, liveRuns = 0): Promise<Measured> {
    const end = performance.now() + PATIENCE_MS
    let pauseMs = 0
    for (;;) {
      const measured = await this.measure()
      pauseMs = Math.max(pauseMs, measured.pauseMs)
      if (measured.connections === connections && measured.liveRuns === liveRuns) return { ...measured, pauseMs }
      if (performance.now() > end)
        throw new Error(`still there: ${measured.connections} connections, ${measured.liveRuns} runs`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]()
  }
}

/** One line of figures: how memory and files grew. */
export function growth(before: Measured, after: Measured): string {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`
  return `RSS ${mib(before.rss)} -> ${mib(after.rss)}, heap ${mib(before.heap)} -> ${mib(after.heap)}, fds ${before.fds} -> ${after.fds}, longest pause ${after.pauseMs} ms`
}
