import type { Runtime } from '../../protocol/runtime.ts'
import type { StoredNotice } from '../stores/run-store.ts'
import type { NoticeType } from './run-notice.ts'

/** Why a notice was not accepted. */
export type SendFailure =
  /** The address is not public, and was not named. */
  | 'address_refused'
  /** No connection could be made: the name, the network, or TLS. */
  | 'unreachable'
  /** A phase took too long. */
  | 'timeout'
  /** The connection ended before there was an answer. */
  | 'connection_lost'
  /** The receiver wants it sent elsewhere, which is never done. */
  | 'redirected'
  /** The receiver answered with another status than 2xx. */
  | 'rejected'
  /** The receiver wants it never again: 410. */
  | 'gone'
  /** The server is closing. */
  | 'aborted'

/** What became of an attempt to send a notice. */
export type SendResult =
  | { readonly isSent: true }
  | {
      readonly isSent: false
      readonly failure: SendFailure
      /** More about it, for the log of the server. It has no secret. */
      readonly words: string
      /** How long the receiver wants to be left alone, in milliseconds. */
      readonly afterMs?: number | undefined
    }

/** How hard a server tries. */
export type DeliveryLimits = {
  /** The most attempts at one notice. */
  readonly maxAttempts: number
  /** The age at which a notice is given up, in milliseconds. */
  readonly maxAgeMs: number
  /** The most notices that wait. */
  readonly maxPending: number
  /** The most attempts at a time. */
  readonly concurrency: number
  /** The longest that one attempt takes, in milliseconds. */
  readonly attemptMs: number
}

/** Where the notices of a server go, and which ones. `webhook()` makes it. */
export interface NoticeTarget {
  /** How hard the server tries. */
  readonly limits: DeliveryLimits
  /** Names of the actors of whose runs there are notices. Undefined: of all. */
  readonly actors: readonly string[] | undefined
  /** What there are notices of. */
  readonly on: readonly NoticeType[]
  /** The host that receives them, for the log. */
  readonly host: string
  /** Sends a notice once. It never rejects. */
  send(notice: StoredNotice, runtime: Runtime, signal: AbortSignal): Promise<SendResult>
}
