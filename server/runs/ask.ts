import type { WireMap } from '../../protocol/frames.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import { Writer } from '../../protocol/writer.ts'
import type { RunInput } from '../actors/actor.ts'
import { unpackPayload } from '../log/payload.ts'
import type { InputAnswer, InputSender } from './input-answer.ts'

/** The depth of what is packed: an input may nest as deep as a frame allows. */
const MAX_DEPTH = 64

/** What a process asks of a run that another one holds. */
export type RunAsk =
  /** The end of the run is the answer. */
  | { readonly type: 'cancel'; readonly why: CancelCause }
  | { readonly type: 'call' | 'agent'; readonly id: string; readonly why: CancelCause }
  | {
      readonly type: 'input'
      readonly mid: string
      readonly input: RunInput
      readonly bytes: number
      readonly from?: InputSender | undefined
    }
  /** The requests that wait for their answers. */
  | { readonly type: 'pending' }

/** A request that waits for its answer, and the item as which it was logged. */
export type PendingRequest = { readonly seq: number; readonly data: WireMap }

/** All requests that wait, of those that were logged before item `next`. */
export type PendingRequests = { readonly next: number; readonly requests: readonly PendingRequest[] }

/** The answer to each of them that has one. */
export type RunAnswer = {
  call: boolean
  agent: boolean
  input: InputAnswer
  pending: PendingRequests
}

export function packAsk(ask: RunAsk): Uint8Array {
  return packed(ask)
}

export function unpackAsk(bytes: Uint8Array): RunAsk {
  return unpackPayload(bytes) as RunAsk
}

export function packAnswer(answer: RunAnswer[keyof RunAnswer]): Uint8Array {
  return packed({ answer })
}

export function unpackAnswer(bytes: Uint8Array): RunAnswer[keyof RunAnswer] {
  return (unpackPayload(bytes) as { answer: RunAnswer[keyof RunAnswer] }).answer
}

/** A reader of a run in another process, as its holder needs to know it. */
export type AttendingReader = {
  readonly own: boolean
  readonly answers: boolean
  /** The client instance behind it. */
  readonly client?: string | undefined
  /** If the actor waits for it: the last item that it was sent, and how many more it takes. */
  readonly pace?: { readonly last: number; readonly gen: number; readonly balance: number } | undefined
}

export function packReaders(readers: readonly AttendingReader[]): Uint8Array {
  return packed({ readers })
}

export function unpackReaders(bytes: Uint8Array): readonly AttendingReader[] {
  return (unpackPayload(bytes) as { readers: readonly AttendingReader[] }).readers
}

function packed(value: unknown): Uint8Array {
  const writer = new Writer()
  writer.value(value, MAX_DEPTH)
  return writer.take()
}
