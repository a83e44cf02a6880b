import { expect } from 'vitest'

/** Objects that a test expects to be garbage, by the words in which it names them. */
export type Held = Record<string, WeakRef<object>>

/**
 * Collects garbage until nothing of `held` is left, and names what is. One collection is not enough: what a WeakRef was
 * made of is kept until the task is over, and an interpreter's register or a running optimization may hold a value a
 * little longer.
 */
export async function collected(held: Held): Promise<void> {
  const left = (): string[] => Object.keys(held).filter((what) => held[what]?.deref() !== undefined)
  for (let n = 0; n < 20 && left().length > 0; n++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    globalThis.gc!()
  }
  expect(left()).toEqual([])
}
