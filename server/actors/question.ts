import type { Principal } from './principal.ts'

/** A question to the attached clients. */
export type Question = {
  /** The expected sort of answer: `confirm`, `text`, `choice`, or one of the application. */
  kind: string
  /** Text for the person who answers. Default: none. */
  prompt?: string | undefined
  /** JSON Schema of the answer, for the clients. The server does not check the answer against it. Default: none. */
  schema?: unknown
  /** The tool call that the question is about; an input of type `approve` for that call answers it. Default: none. */
  call?: string | undefined
  /** Milliseconds until `request` rejects with `timeout`. Default: no limit besides the run's own. */
  expiresMs?: number | undefined
  /**
   * Whether a principal may answer, of those whom the server's `authorize` allows to. The answer of any other is refused as
   * `forbidden`, and the question stays open. Default: all of them.
   */
  who?: ((principal: Principal) => boolean) | undefined
  /** Aborting it withdraws the question: `request` rejects with the signal's reason. Default: none. */
  signal?: AbortSignal | undefined
}
