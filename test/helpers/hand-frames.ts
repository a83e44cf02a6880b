import type { NextFrame } from '../../react/frames.ts'
import { PATIENCE_MS } from './patience.ts'

/** Frames that a test draws. A page that is hidden draws none. */
export class HandFrames {
  readonly #waiting = new Set<() => void>()

  readonly next: NextFrame = (callback) => {
    // The same function may be waiting already.
    const mine = (): void => callback()
    this.#waiting.add(mine)
    return () => void this.#waiting.delete(mine)
  }

  /** How many wait for the next frame. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Draws one frame, and lets everything happen that follows from it without the network. */
  async draw(): Promise<void> {
    const callbacks = [...this.#waiting]
    this.#waiting.clear()
    for (const callback of callbacks) callback()
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Draws until `holds`. */
  async until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + PATIENCE_MS
    while (!holds()) {
      if (performance.now() > end) throw new Error(`it never happened: ${what}`)
      await this.draw()
    }
  }
}
