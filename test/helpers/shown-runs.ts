import type { Client, RunEvent, StreamEvent } from '../../client-sdk/index.ts'
import { createRunStore, type RunStore } from '../../react/run-store.ts'
import type { UseRunOptions } from '../../react/shown-run.ts'
import { HandFrames } from './hand-frames.ts'

/** A component that shows a run, without React: what it was given to show, and when it leaves. */
export class ShownComponent {
  readonly frames = new HandFrames()
  readonly store: RunStore
  /** All that was shown, in order. */
  readonly shown: ReturnType<RunStore['getSnapshot']>[] = []
  #leave: (() => void) | undefined

  /** It is mounted at once. */
  constructor(client: object, actor: string, options: UseRunOptions = {}) {
    this.store = createRunStore(client as Client, actor, options, this.frames.next)
    this.store.use(options)
    this.mount()
  }

  get now(): ReturnType<RunStore['getSnapshot']> {
    return this.store.getSnapshot()
  }

  mount(): void {
    this.#leave ??= this.store.subscribe(() => void this.shown.push(this.now))
  }

  /** Resolves when it has left. */
  async unmount(): Promise<void> {
    this.#leave?.()
    this.#leave = undefined
    await Promise.resolve()
  }

  /** Draws until this is shown. */
  until(holds: (now: ReturnType<RunStore['getSnapshot']>) => boolean, what: string): Promise<void> {
    return this.frames.until(() => holds(this.now), what)
  }

  /** Draws until the run has ended. */
  ended(): Promise<void> {
    return this.until(({ status }) => ['done', 'error', 'cancelled', 'lost'].includes(status), 'the run has ended')
  }
}

/** Numbers events as a log does. */
export function numbered(...events: RunEvent[]): StreamEvent[] {
  return events.map((event, at) => ({ ...event, seq: at + 1, at: 0 }))
}
