import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Runtime } from '../../protocol/runtime.ts'
import type { RequestPlace } from '../transports/transport.ts'
import type { HttpSurface } from './http-surface.ts'
import { RequestBody } from './request-body.ts'

const BAD_TARGET = 'this is no request that a server takes\n'

/** What a surface is served with on an HTTP server of Node. */
export type NodeAdapterOptions = {
  /** How long a response may wait for a client that does not read it, in milliseconds. A stream of events may wait longer. */
  readonly slowMs: number
  readonly runtime: Runtime
  /** The server itself failed. */
  report(error: unknown): void
}

/**
 * Answers a request of an HTTP server of Node.
 * @returns false for a path that is not of this surface. Nothing was done then.
 */
export function answerOnNode(
  surface: HttpSurface,
  options: NodeAdapterOptions,
  request: IncomingMessage,
  response: ServerResponse,
  { prefix, listensAt, isOnly, awaitsContinue }: RequestPlace,
): boolean {
  const url = urlOf(request)
  const path = url?.pathname ?? ''
  if (!isOnly && !(path.startsWith(`${prefix}/`) && surface.has(path.slice(prefix.length)))) return false
  const left = new AbortController()
  const body = new RequestBody(request, () => awaitsContinue && response.writeContinue())
  const asked = url && webRequest(request, url, body.stream, left.signal)
  const refusal = (): Response => new Response(BAD_TARGET, { status: 400, headers: { 'content-type': 'text/plain' } })
  response.on('close', () => left.abort())
  response.on('error', () => response.destroy())
  const peer = {
    remoteAddress: request.socket.remoteAddress ?? '',
    listensAt,
    basePath: prefix,
    onClose: (closed: () => void) => void response.on('close', closed),
  }
  const answered = asked ? surface.fetch(asked, peer) : Promise.resolve(refusal())
  answered
    .then((answer) => send(answer, request, response, body, options))
    .catch((error: unknown) => {
      if (!response.destroyed) options.report(error)
      response.destroy()
    })
  return true
}

/** The address of a request. Undefined for one that is no path: only those go to this server. */
function urlOf({ url = '' }: IncomingMessage): URL | undefined {
  const address = `http://localhost${url}`
  return url.startsWith('/') && URL.canParse(address) ? new URL(address) : undefined
}

/** Undefined for a request that has no such form, as one with the method TRACE. */
function webRequest(
  request: IncomingMessage,
  url: URL,
  content: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Request | undefined {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !name.startsWith(':')) headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  }
  const method = request.method ?? 'GET'
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const body = hasBody ? content : null
  try {
    return new Request(url, { method, headers, body, signal, duplex: 'half' })
  } catch {
    return undefined
  }
}

/** Sends a response, and reads its body only as fast as the client takes it. */
async function send(
  answer: Response,
  request: IncomingMessage,
  response: ServerResponse,
  asked: RequestBody,
  { slowMs, runtime }: NodeAdapterOptions,
): Promise<void> {
  const body = answer.body as ReadableStream<Uint8Array> | null
  if (response.destroyed) return await body?.cancel()
  const headers: { [name: string]: string | string[] } = Object.fromEntries(answer.headers)
  const cookies = answer.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
  // What is left of a body that nobody reads would stand before the next request of this connection.
  const isUnread = !request.complete && request.httpVersionMajor === 1
  if (isUnread) headers['connection'] = 'close'
  // The client then knows that the answer is whole, although the connection does not end yet.
  const whole = isUnread && !isStream && body ? new Uint8Array(await answer.arrayBuffer()) : undefined
  if (whole) headers['content-length'] = `${whole.length}`
  response.writeHead(answer.status, headers)
  if (!isStream) response.setTimeout(slowMs, () => response.destroy())
  if (isStream || isUnread) response.flushHeaders()
  // Behind what it has sent and nobody reads, a client that leaves is not noticed: a stream does not wait with that.
  const discarded = isStream && isUnread ? asked.discard(runtime) : undefined
  if (whole) response.write(whole)
  else if (body) await copy(body, response)
  if (isUnread) await (discarded ?? asked.discard(runtime))
  response.end()
}

async function copy(body: ReadableStream<Uint8Array>, response: ServerResponse): Promise<void> {
  const reader = body.getReader()
  const leave = (): void => void reader.cancel().catch(() => {})
  response.once('close', leave)
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    if (response.destroyed) return
    if (!response.write(step.value)) await drained(response)
  }
  response.off('close', leave)
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
