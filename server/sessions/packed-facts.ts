import { MillraceError } from '../../protocol/errors.ts'
import { Writer } from '../../protocol/writer.ts'
import type { Principal } from '../actors/principal.ts'
import { unpackPayload } from '../log/payload.ts'
import type { RunOptions } from '../runs/run-options.ts'
import type { RunFacts } from '../stores/run-store.ts'

/** An input may nest as deep as a frame allows, inside the facts. */
const PACKED_DEPTH = 64

/** What the registry knows of a run that is to be stored. */
export type StorableRun = {
  readonly actor: string
  readonly principal: Principal
  readonly input: unknown
  readonly options: RunOptions
  /** In epoch milliseconds. */
  readonly startedAt: number
}

/** What a store keeps of the start of a run, and another process begins it from. */
export type PackedFacts = {
  readonly principal: Principal
  readonly options: RunOptions
  readonly input?: unknown
  /** The name of the actor in the workers of its pool. */
  readonly remote?: string
}

/** Reads the facts of a stored run. */
export function unpackFacts({ packed }: Pick<RunFacts, 'packed'>): PackedFacts {
  return unpackPayload(packed) as PackedFacts
}

/** Packs facts. An input of this process may be anything. What cannot be packed is left out: that run is not restored. */
export function packFacts(facts: PackedFacts): Uint8Array {
  try {
    return pack(facts)
  } catch {
    const { input: _, ...rest } = facts
    return pack(rest)
  }
}

/**
 * Packs the facts of a run that the workers of a pool execute. They need all of the input.
 * @param maxBytes the most that the input may take.
 * @throws MillraceError `bad_request` for an input that is no plain data, or too large.
 */
export function packFactsForWorker(facts: PackedFacts, maxBytes: number): Uint8Array {
  let size: number
  try {
    size = pack(facts.input).length
  } catch (error) {
    const cause = MillraceError.from(error, 'bad_request', 'it is not plain data')
    throw new MillraceError('bad_request', `the input of a remote actor cannot be sent: ${cause.message}`, { cause })
  }
  if (size > maxBytes)
    throw new MillraceError(
      'bad_request',
      `the input of a remote actor has ${size} bytes, more than maxMessage (${maxBytes}): send a reference`,
    )
  return pack(facts)
}

/** Packs the `meta` of a run, which lists have without the rest. */
export function packMeta(meta: RunOptions['meta']): Pick<RunFacts, 'meta'> | undefined {
  return meta && { meta: pack(meta) }
}

function pack(value: unknown): Uint8Array {
  const writer = new Writer()
  writer.value(value, PACKED_DEPTH)
  return writer.take()
}
