import { hash } from 'node:crypto'
import type { Key } from '../../protocol/frames.ts'
import type { Principal } from '../actors/principal.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { bytesOf } from './ids.ts'

/** The length of a hash as text. */
const HASH_CHARACTERS = 44

/** The execution that a key names. `run` is undefined once its log was dropped to make room. */
export type KeyEntry = { readonly inputName: string; readonly run: ReadableRun | undefined }

/** The executions of this process that keys name. */
export class RunKeys {
  readonly #entries = new Map<string, { readonly inputName: string; run: ReadableRun | undefined }>()
  readonly #keyOf = new Map<ReadableRun, string>()

  /** The execution that a key names. */
  get(key: string): KeyEntry | undefined {
    return this.#entries.get(key)
  }

  /** A key names this run, with this input, from now on. */
  keep(key: string, inputName: string, run: ReadableRun): void {
    this.#entries.set(key, { inputName, run })
    this.#keyOf.set(run, key)
  }

  /** The log of a run was dropped to make room: its key still tells that it was. Returns that key. */
  drop(run: ReadableRun): string | undefined {
    const key = this.#keyOf.get(run)
    const entry = key === undefined ? undefined : this.#entries.get(key)
    if (entry) entry.run = undefined
    this.#keyOf.delete(run)
    return key
  }

  /** A run and its key are forgotten. */
  forget(run: ReadableRun): void {
    const key = this.drop(run)
    if (key !== undefined) this.#entries.delete(key)
  }

  /** A key whose run was dropped is forgotten. */
  forgetKey(key: string): void {
    this.#entries.delete(key)
  }
}

/** A key as the key of a Map. The lengths keep its parts apart, and a binary key never equals a text. */
export function keyName({ id }: Principal, actor: string, key: Key): string {
  const name = typeof key === 'string' ? `s${key}` : `b${bytesOf(key).toString('latin1')}`
  return `${id.length} ${actor.length} ${id}${actor}${name}`
}

/** An input as the key of a START is bound to it: the input itself where its hash would be longer. */
export function nameOfInput(input: Uint8Array): string {
  return input.length <= HASH_CHARACTERS ? `=${bytesOf(input).toString('latin1')}` : hash('sha256', input, 'base64')
}
