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

/**
 * The connections of `fetch` that begin from now on give at most 16 KiB at a time. undici takes all that a socket
 * holds, parses it up to the next piece of the body that nobody has asked for, and puts the rest back. On Node 20, a socket that
 * was emptied reads on from the kernel meanwhile, so that each piece which a slow reader takes adds up to 64 KiB to what
 * waits in the process, without a limit, and copies all that waits. It concerns every `fetch` of the process, and changes
 * nothing for it but the size of its reads.
 */
export function takeLittleAtATime(): void {
  if (isSubscribed) return
  isSubscribed = true
  subscribe(CONNECTED, (message) => {
    const { socket } = message as { socket?: Socket }
    if (typeof socket?.read !== 'function') return
    const read: (bytes?: number) => unknown = socket.read.bind(socket)
    socket.read = (bytes) => read(bytes ?? (socket.readableLength > MOST_BYTES ? MOST_BYTES : undefined))
  })
}

let isSubscribed = false
