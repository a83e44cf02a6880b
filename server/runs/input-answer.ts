import type { InputStatus } from '../../protocol/frames.ts'
import type { Principal } from '../actors/principal.ts'

/** What becomes of an input. `forbidden`: this principal may not send it. `stale`: the run has gone on since. */
export type InputAnswer = { status: InputStatus | 'forbidden' | 'stale'; note?: string }

/** To whatever comes when the run is over. */
export const OVER: InputAnswer = { status: 'unwanted', note: 'the run is over' }

/** Takes an answer to a request. It returns why that is none, and leaves the request open. */
export type Answering = (value: unknown, by: Principal | undefined) => InputAnswer | undefined

/** The client that sends an input. */
export type InputSender = {
  readonly principal: Principal
  /** The client instance, if it is one of the run's own principal. */
  readonly instance: string | undefined
}
