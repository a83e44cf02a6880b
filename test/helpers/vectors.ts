import { readdirSync, readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type * as codecPaths from './codec-paths.ts'
import { bytes, type Direction, plain } from './codec-paths.ts'

export type Vector = {
  file: string
  name: string
  direction: Direction
  hex: string
  repeat?: { hex: string; times: number }
  meaning?: unknown[]
  given?: unknown[]
  canonical?: boolean
  refusal?: { close: number }
}

/** What vectors are held against: the codec, or a copy of it in which something is broken. */
export type Codec = Pick<typeof codecPaths, 'decoders' | 'encoders' | 'outcomeOf'>

const folder = new URL('../vectors/', import.meta.url)

/** All of `test/vectors`. */
export const vectors: readonly Vector[] = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .flatMap((file) =>
    (JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Omit<Vector, 'file'>[]).map((one) => ({
      file,
      ...one,
    })),
  )

export function readVectorsReadme(): string {
  return readFileSync(new URL('README.md', folder), 'utf8')
}

const messages = new Map<Vector, Uint8Array>()

export function messageOf(vector: Vector): Uint8Array {
  const { hex, repeat } = vector
  const message = messages.get(vector) ?? bytes(hex + (repeat?.hex.repeat(repeat.times) ?? ''))
  messages.set(vector, message)
  return message
}

/** The frames that a decoder makes of the message. */
export function meaningOf({ meaning = [] }: Vector): unknown[] {
  return meaning.map(valueOf)
}

/** The frames that an encoder is given for the message. */
export function givenOf({ meaning = [], given = meaning }: Vector): unknown[] {
  return given.map(valueOf)
}

/** The first thing that a codec gets wrong about a vector; undefined when there is none. */
export function faultOf({ decoders, encoders, outcomeOf }: Codec, vector: Vector): string | undefined {
  const { direction, name, refusal, canonical } = vector
  const message = messageOf(vector)
  const due = refusal ? refusal.close : plain(meaningOf(vector))
  const accepts = (decode: (message: Uint8Array) => unknown[]): boolean => {
    const outcome = outcomeOf(() => decode(message))
    return isDeepStrictEqual(typeof outcome === 'number' ? outcome : plain(outcome), due)
  }
  if (!holds(() => accepts(decoders[direction].own))) return `own decoder, ${direction}: ${name}`
  if (!holds(() => accepts(decoders[direction].scanned))) return `scanned decoder, ${direction}: ${name}`
  if (!canonical || holds(() => Buffer.compare(encoders[direction](givenOf(vector)), message) === 0)) return undefined
  return `encoder, ${direction}: ${name}`
}

/** An error that no codec should throw is a fault as well, but for one that tells of a copy that makes no sense. */
function holds(condition: () => boolean): boolean {
  try {
    return condition()
  } catch (error) {
    if (error instanceof ReferenceError) throw error
    return false
  }
}

/** A value as it stands in a vector's JSON, where the README says how to write what JSON has no word for. */
function valueOf(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(valueOf)
  if (typeof json !== 'object' || json === null) return json
  if ('$bin' in json) return bytes(json.$bin as string)
  if ('$float' in json) return { nan: Number.NaN, inf: Infinity, '-inf': -Infinity }[json.$float as 'nan']
  if ('$utf16' in json) return textOf(json.$utf16 as string)
  if ('$repeat' in json) return repeated(valueOf(json.$repeat), (json as { times?: unknown }).times as number)
  return Object.fromEntries(Object.entries(json).map(([key, one]) => [key, valueOf(one)]))
}

/** Text of UTF-16 code units, each four digits. No decoder would give half of a pair. */
function textOf(units: string): string {
  return (units.match(/.{4}/g) ?? []).map((unit) => String.fromCharCode(Number.parseInt(unit, 16))).join('')
}

function repeated(value: unknown, times: number): unknown {
  if (typeof value === 'string') return value.repeat(times)
  if (value instanceof Uint8Array) return bytes(Buffer.from(value).toString('hex').repeat(times))
  return Array.from({ length: times }, () => value as unknown[]).flat()
}
