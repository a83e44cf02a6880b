import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** The most of an answer that is read: it is not used, and the sender may not like to be cut off. */
const MAX_ANSWER_BYTES = 16_384
/** How long the rest of an answer may take after its headers, in milliseconds. */
const REST_MS = 1_000

/** Why a request got no answer. */
export type PostFailure = 'address_refused' | 'unreachable' | 'timeout' | 'connection_lost' | 'aborted'

/** What became of a request. */
export type PostResult =
  | { readonly status: number; readonly retryAfter: string | undefined }
  | { readonly failure: PostFailure; readonly words: string }

/** What is sent, and where to. */
export type Post = {
  readonly url: URL
  readonly headers: { readonly [name: string]: string }
  readonly body: Uint8Array
  readonly lookup: LookupFunction
  /** Time limits, in milliseconds: until the connection is made, and until the headers of the answer are here. */
  readonly connectMs: number
  readonly answerMs: number
}

/**
 * Sends one POST, on a connection of its own. It never rejects, follows no redirect, and reads no more of an answer than
 * it needs to end well. It resolves with the headers of the answer.
 */
export function post(
  { url, headers, body, lookup, connectMs, answerMs }: Post,
  runtime: Pick<Runtime, 'setTimer'>,
  signal: AbortSignal,
): Promise<PostResult> {
  return new Promise((resolve) => {
    const within = (ms: number, what: string): Timer =>
      runtime.setTimer(ms, () => fail('timeout', `${what} took longer than ${ms} ms`))
    const settle = (result: PostResult): void => {
      connecting.clear()
      answering.clear()
      signal.removeEventListener('abort', abort)
      resolve(result)
    }
    const fail = (failure: PostFailure, words: string): void => {
      settle({ failure, words })
      sent.destroy()
    }
    const abort = (): void => fail('aborted', 'the server is closing')
    const isPlain = url.protocol === 'http:'
    const send = isPlain ? plainRequest : tlsRequest
    const sent = send(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': String(body.length), connection: 'close' },
      agent: false,
      lookup,
    })
    let isConnected = false
    const connecting = within(connectMs, 'the connection')
    const answering = within(answerMs, 'the answer')
    sent.on('socket', (socket) => {
      socket.once(isPlain ? 'connect' : 'secureConnect', () => {
        isConnected = true
        connecting.clear()
      })
    })
    sent.on('response', (answer) => {
      const { statusCode: status = 0 } = answer
      settle({ status, retryAfter: answer.headers['retry-after'] })
      const end = runtime.setTimer(REST_MS, () => sent.destroy())
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_ANSWER_BYTES) sent.destroy()
      })
      answer.on('error', () => {})
      answer.on('close', () => end.clear())
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      const isRefused = error.code === 'ADDRESS_REFUSED'
      const failure = isRefused ? 'address_refused' : isConnected ? 'connection_lost' : 'unreachable'
      settle({ failure, words: isRefused ? error.message : wordsOf(error) })
    })
    // Also after an answer that is none, such as a change of the protocol.
    sent.on('close', () => settle({ failure: 'connection_lost', words: 'the connection ended without an answer' }))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    sent.end(body)
  })
}

/** The code of an error, or of why a certificate is refused. Its message may have the address that was asked for. */
function wordsOf(error: NodeJS.ErrnoException): string {
  const { authorizationError } = error as { authorizationError?: TLSSocket['authorizationError'] }
  return String(authorizationError ?? error.code ?? error.name)
}
