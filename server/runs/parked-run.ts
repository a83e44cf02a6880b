import { MillraceError } from '../../protocol/errors.ts'
import { Writer } from '../../protocol/writer.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Life } from '../log/log.ts'
import { unpackPayload } from '../log/payload.ts'
import type { DeclaredTools } from '../tools/client-tools.ts'
import type { CallWait } from '../tools/tool-runner.ts'
import type { GovernOrder } from './governor.ts'
import type { InputSender } from './input-answer.ts'
import type { KeptInputs } from './inputs.ts'
import type { AskedRequest } from './requests.ts'
import type { Tally } from './usage-tally.ts'

/** Of what is packed. A release that packs something else takes another number. */
const VERSION = 2
/** Its runs had no children. */
const CHILDLESS = 1
/** The depth of data that an actor may give. */
const MAX_DEPTH = 64

/** A tool call that waits. */
export type WaitingCall = CallWait & { readonly id: string }

/** A request of an agent, as the log of a run above it shows it: the item, the agent, and the data. */
export type PassedRequest = { readonly seq: number; readonly agent: string; readonly packed: Uint8Array }

/** A run that another one began, as that finds it again. */
export type ParkedChild = {
  readonly id: string
  /** The name by which its parent began it, and the tool call that did. */
  readonly key: string
  readonly call?: string | undefined
  /** In epoch milliseconds. */
  readonly startedAt: number
  /** The number of the next item of its log, and the lives of that. */
  readonly next: number
  readonly lives: readonly Life[]
  /** What it has said, as far as that is its answer. */
  readonly text: string
  /** A `ParkedRun`. */
  readonly packed: Uint8Array
}

/** All that a run goes on from in another process, while it only waits. */
export type ParkedRun = {
  /** What its actor gave. */
  readonly actor: unknown
  readonly requests: readonly AskedRequest[]
  /** The number of the last request. */
  readonly asked: number
  readonly calls: readonly WaitingCall[]
  readonly inputs: KeptInputs
  readonly usage: Tally
  readonly texts: number
  /** The number of the next lane. */
  readonly lane: number
  readonly orders: { readonly order: GovernOrder; readonly turnAt: number } | undefined
  readonly clientTools: DeclaredTools
  /** What is left of its time, in milliseconds. */
  readonly leftMs: number
  readonly children: readonly ParkedChild[]
  /** The agents that its log shows, each with the one that began it. */
  readonly agents: readonly (readonly [agent: string, parent: string | null])[]
  /** What these agents ask. */
  readonly passed: readonly PassedRequest[]
}

/** Packs it for the store. @throws MillraceError where the actor gave what cannot be packed. */
export function packParked(run: ParkedRun): Uint8Array {
  const writer = new Writer()
  writer.value({ ...run, version: VERSION }, MAX_DEPTH)
  return writer.take()
}

/**
 * Packs an input for the store. It came from a client, so that it can be packed.
 * @param child the run that it is for, if that is not the one that is stored but one below it.
 */
export function packInput(
  input: RunInput,
  bytes: number,
  from: InputSender | undefined,
  child: string | undefined,
): Uint8Array {
  const writer = new Writer()
  writer.value({ input, bytes, from, child }, MAX_DEPTH)
  return writer.take()
}

export function unpackInput(packed: Uint8Array): {
  input: RunInput
  bytes: number
  from?: InputSender
  child?: string
} {
  return unpackPayload(packed) as ReturnType<typeof unpackInput>
}

/** @throws MillraceError `interrupted` for what another release has packed. */
export function unpackParked(packed: Uint8Array): ParkedRun {
  const { version, ...run } = unpackPayload(packed) as ParkedRun & { version: number }
  if (version === VERSION) return run
  if (version === CHILDLESS) return { ...run, children: [], agents: [], passed: [] }
  throw new MillraceError('interrupted', 'another release of the server has parked this run')
}
