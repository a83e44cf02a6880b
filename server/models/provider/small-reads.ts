/** Lets a response of Node's `fetch` that is read slowly stay in its socket, and with it at the provider. */
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/**
 * Published by undici, the `fetch` of Node, for each new connection.
 * @see https://github.com/nodejs/undici/blob/main/docs/docs/api/DiagnosticsChannel.md
 */
const CONNECTED = 'undici:client:connected'

/** Less than a socket holds before it stops reading from the kernel, which undici has set to 64 KiB. */
const MOST_BYTES = 16_384

/** The code of a reset, which undici takes for the end of a response that has no other. */
const RESET = 'ECONNRESET'
/** The code that undici gives a connection that was lost, which nobody takes for an end. */
const LOST = 'UND_ERR_SOCKET'

/**
 * The connections of `fetch` that begin from now on give at most 16 KiB at a time. undici takes all that a socket
 * holds, parses it up to the next piece of the body that nobody has asked for, and puts the rest back. On Node 20, a
 * socket that was emptied reads on from the kernel meanwhile, so that each piece which a slow reader takes adds up to
 * 64 KiB to what waits in the process, without a limit, and copies all that waits.
 *
 * They also end only when undici goes on. An end that comes while it waits for a slow reader fails an assertion of undici
 * 7, and with it the process: https://github.com/nodejs/undici/issues/5360
 *
 * It concerns every `fetch` of the process, and changes nothing else for it. A connection that was upgraded belongs to who
 * asked for that, and is like any other.
 */
export function takeLittleAtATime(): void {
  if (isSubscribed) return
  isSubscribed = true
  subscribe(CONNECTED, (message) => {
    const { socket } = message as { socket?: Socket }
    if (typeof socket?.read === 'function') waitForReader(socket)
  })
}

let isSubscribed = false

function waitForReader(socket: Socket): void {
  const read: (bytes?: number) => unknown = socket.read.bind(socket)
  const push: (chunk: unknown, encoding?: BufferEncoding) => boolean = socket.push.bind(socket)
  const unshift: (chunk: unknown, encoding?: BufferEncoding) => void = socket.unshift.bind(socket)
  const destroy: (error?: Error, done?: (error?: Error | null) => void) => Socket = socket.destroy.bind(socket)
  const parsing = socket.listeners('readable')
  /** undici takes its listeners off a connection that was upgraded. */
  const isOfUndici = (): boolean => {
    const listeners = socket.listeners('readable')
    return parsing.every((listener) => listeners.includes(listener))
  }
  /** undici has put back what it cannot hand on, if only an empty piece, and has not asked again. */
  let hasPutBack = false
  const isWaiting = (): boolean => hasPutBack && isOfUndici()
  /** The other end has closed the connection, and undici does not know yet. */
  let hasEnded = false
  const end = (): void => {
    if (!hasEnded || isWaiting()) return
    hasEnded = false
    push(null)
  }
  socket.read = (bytes) => {
    // Node asks for none to read on from the kernel. Behind the end there is nothing.
    if (bytes !== undefined) return bytes === 0 && hasEnded ? null : read(bytes)
    hasPutBack = false
    // Not before undici has parsed this, and perhaps waits again.
    if (hasEnded) queueMicrotask(end)
    return read(socket.readableLength > MOST_BYTES && isOfUndici() ? MOST_BYTES : undefined)
  }
  socket.unshift = (chunk, encoding) => {
    hasPutBack = true
    unshift(chunk, encoding)
  }
  socket.push = (chunk, encoding) => {
    if (chunk !== null || !isWaiting()) return push(chunk, encoding)
    hasEnded = true
    return false
  }
  socket.destroy = (error?: Error, done?: (error?: Error | null) => void) => {
    // What waited is lost with the connection: the response is not whole.
    const isCut = error !== undefined && 'code' in error && error.code === RESET && isWaiting()
    return destroy(isCut ? Object.assign(new Error(error.message, { cause: error }), { code: LOST }) : error, done)
  }
}
