import type {
  JSONRPCMessage,
  StreamableHTTPClientTransport,
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/client'

/** The code of the error of a request whose response ended without an answer; one that the protocol leaves free. */
export const LOST_ANSWER = -32_099

type RequestId = string | number
/** The same options, as the transport of the package declares them: without `undefined`. */
type InnerOptions = NonNullable<Parameters<StreamableHTTPClientTransport['send']>[1]>

/**
 * Streamable HTTP, with three things that the transport of the package lacks. A request whose response ends without an
 * answer fails at once, and not at its time limit. Once a cancel is sent, the response of the cancelled request is
 * closed. A session is ended when the transport is closed.
 */
export class EndpointTransport implements Transport {
  readonly #inner: StreamableHTTPClientTransport
  /** The requests that have no answer yet. */
  readonly #open = new Map<RequestId, AbortController>()
  #closed: Promise<void> | undefined
  readonly hasPerRequestStream: boolean = true
  onclose?: () => void
  onerror?: (error: Error) => void
  onmessage?: NonNullable<Transport['onmessage']>

  constructor(inner: StreamableHTTPClientTransport) {
    this.#inner = inner
    inner.onclose = () => this.onclose?.()
    inner.onerror = (error) => this.onerror?.(error)
    inner.onmessage = (message) => {
      if ('id' in message && message.id !== undefined && !('method' in message)) this.#open.delete(message.id)
      this.onmessage?.(message)
    }
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version)
  }

  start(): Promise<void> {
    return this.#inner.start()
  }

  /** The first call closes it. `onclose` may close it again: a second close would call `onclose` without end. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    await this.#inner.terminateSession().catch(() => {})
    await this.#inner.close()
  }

  send(message: JSONRPCMessage, given: TransportSendOptions = {}): Promise<void> {
    const options = given as InnerOptions
    if ('method' in message && 'id' in message) return this.#request(message, message.id, options)
    const sent = this.#inner.send(message, options)
    const cancelled = cancelledBy(message)
    if (cancelled !== undefined) {
      const closeResponse = (): void => {
        this.#open.get(cancelled)?.abort()
        this.#open.delete(cancelled)
      }
      sent.then(closeResponse, closeResponse)
    }
    return sent
  }

  #request(message: JSONRPCMessage, id: RequestId, options: InnerOptions): Promise<void> {
    // A subscription looks after both itself.
    if (options.onRequestStreamEnd) return this.#inner.send(message, options)
    const controller = new AbortController()
    const { requestSignal } = options
    this.#open.set(id, controller)
    const sent = this.#inner.send(message, {
      ...options,
      requestSignal: requestSignal ? AbortSignal.any([requestSignal, controller.signal]) : controller.signal,
      onRequestStreamEnd: () => this.#lost(id),
    })
    const forget = (): void => void this.#open.delete(id)
    requestSignal?.addEventListener('abort', forget, { once: true })
    sent.catch(forget)
    return sent
  }

  #lost(id: RequestId): void {
    if (!this.#open.delete(id)) return
    this.onmessage?.({
      jsonrpc: '2.0',
      id,
      error: { code: LOST_ANSWER, message: 'the response ended without an answer' },
    })
  }
}

/** The request that a message cancels, if it is a cancel. */
export function cancelledBy(message: JSONRPCMessage): RequestId | undefined {
  if (!('method' in message) || message.method !== 'notifications/cancelled') return undefined
  const id = message.params?.['requestId']
  return typeof id === 'string' || typeof id === 'number' ? id : undefined
}
