// What a page and the shared worker say to each other. Binary messages are those of a WebSocket, both ways.

/** Asks for a socket. Its port comes with it. */
export type SocketRequest = {
  /** The address of the server, absolute. */
  readonly url: string
  /** Pages that name the same user share. */
  readonly user: string
  /** The Web Lock that the page holds for as long as it exists. */
  readonly lock: string
}

/** The socket is open for the page. */
export const OPEN = 'open'

/** The socket is closed. */
export type Closed = { readonly code: number; readonly reason: string }

/** One end of a channel. Its handler is typed loosely: the class of a browser fits, and that of Node. */
export interface Port {
  onmessage: unknown
  postMessage(message: unknown): void
  close(): void
}
