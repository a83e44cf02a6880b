/** How the fake provider answers one request. What is left out is not done; the parts come in this order. */
export type Behaviour = {
  /** Refuse with this status instead of answering. Its body repeats the key it was given, as real ones do. */
  status?: number
  /** With `status`: these headers too. */
  headers?: Record<string, string>
  /** With `status`: the error in the body, in the provider's own form. Default: a text with the key in it. */
  error?: unknown
  /** The whole body instead of an answer, chunk by chunk (UTF-8). A `status` then belongs to it. */
  chunks?: string[]
  /** With `chunks`: the content type. */
  contentType?: string
  /** Where it falls silent, for good or until released. */
  hold?: 'headers' | 'first-token' | 'tokens' | 'args' | 'end' | 'after-end'
  /** Thinking, one piece each. */
  thinking?: string[]
  /** How many tokens: `t0 `, `t1 ` ... as fast as the socket takes them. */
  tokens?: number
  /** Tokens of one's own instead. */
  texts?: string[]
  /** Least bytes of a token, filled up with dots. */
  tokenBytes?: number
  /** Time between two tokens. Default 0. */
  everyMs?: number
  /** One byte a chunk. */
  split?: boolean
  /** A broken line after the first token. */
  malformed?: boolean
  /** A token with bytes that are not UTF-8 after the first one. */
  badUtf8?: boolean
  /** The response ends 10 ms after its last word. */
  lateEnd?: boolean
  /** Raw bytes (latin1) after the tokens, as they stand. */
  raw?: string
  /** Tool calls; `args` is JSON. */
  calls?: { name: string; args: string; id?: string | null }[]
  /** Without usage at the end. */
  noUsage?: boolean
  /** The reason given for the end. Default `stop`. */
  finish?: string
  /**
   * How it ends: properly; with its socket cut; cleanly but without its end marker; with the provider's error in the
   * answer; with a line that never ends (64 MiB, then cut).
   */
  end?: 'proper' | 'cut' | 'no-marker' | 'error' | 'endless-line'
}

/** Milliseconds that two processes of one machine can compare. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now()
}

/** How much of an answer was written. `blocked`: the socket takes no more. */
export type Written = { bytes: number; tokens: number; blocked: boolean }

/** A report about the request of that id. */
type About<Type extends string, More = unknown> = Type extends string
  ? { type: Type; id: number; at: number } & More
  : never

/** What the process reports about its requests. */
export type ProviderReport =
  | { type: 'listening'; port: number }
  /** `port`: the client's. Two requests with the same one came over one connection. */
  | About<'request', { model: string; path: string; body: unknown; port: number }>
  /** It fell silent at this place. */
  | About<'holding', { where: string }>
  | About<'headers' | 'token' | 'ended'>
  | About<'blocked' | 'drained', Written>
  /** The response is over. `whole`: it was sent to its end; else its socket closed before that. */
  | About<'closed', Written & { whole: boolean }>

/** What the process can be asked to do. Each command is answered. */
export type ProviderCommand =
  | { type: 'behave'; model: string; answers: Behaviour[] }
  | { type: 'written'; id: number }
  | { type: 'count'; model: string }
  | { type: 'release'; id: number }
