import { readdirSync, readFileSync } from 'node:fs'
import { bytes, type Direction } from './codec-paths.ts'

export type Vector = {
  name: string
  direction: Direction
  hex: string
  repeat?: { hex: string; times: number }
  meaning?: unknown[]
  canonical?: boolean
  refusal?: { close: number }
}

const folder = new URL('../vectors/', import.meta.url)

/** All of `test/vectors`. */
export const vectors: readonly Vector[] = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .flatMap((file) => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Vector[])

export function messageOf({ hex, repeat }: Vector): Uint8Array {
  return bytes(hex + (repeat?.hex.repeat(repeat.times) ?? ''))
}
