import { systemRuntime } from './runtime.ts'
import { type Closed, OPEN, type Port, type SocketRequest } from './shared-messages.ts'
import type { WebSocketClass, WebSocketLike } from './socket.ts'

/** The part of a `SharedWorker` that is used here. */
export interface SharedWorkerLike {
  /** The port of this page. */
  readonly port: { postMessage(message: unknown, transfer: never[]): void }
  /** Set to learn that the script of the worker cannot be loaded. */
  onerror: unknown
}

/** The options of `sharedWebSocket`. */
export type SharedWebSocketOptions = {
  /**
   * Names who is logged in, such as the id of the account. Pages that give the same user and the same address share a
   * connection, whose credentials are those of the page that opened it. Give another user after a new login: a page of
   * somebody else must not share.
   */
  user: string
  /** The class of a page that has its own connection. Default: `globalThis.WebSocket`. */
  WebSocket?: WebSocketClass | undefined
}

/** What is used of the global object of a page. In Node, and in older browsers, some of it is missing. @internal */
export type SharingPage = {
  readonly WebSocket?: WebSocketClass
  readonly location?: { readonly href: string }
  readonly SharedWorker?: unknown
  readonly MessageChannel?: new () => { readonly port1: Port; readonly port2: Port }
  readonly navigator?: {
    readonly locks?: { request(name: string, held: () => Promise<never>): Promise<unknown> }
  }
}

/**
 * Makes a class of WebSockets that share one connection among all pages of a browser: for the option `WebSocket` of
 * `createClient`. Where there is no `SharedWorker`, no Web Locks, or a worker that does not answer, each page has a
 * connection of its own.
 *
 * @param start Starts the worker, whose module is `millrace/shared-worker`. It is called once, for the first socket:
 * `() => new SharedWorker(new URL('./shared.js', import.meta.url), { type: 'module' })`.
 */
export function sharedWebSocket(start: () => SharedWorkerLike, options: SharedWebSocketOptions): WebSocketClass {
  return sharedWebSocketIn(globalThis as unknown as SharingPage, start, options)
}

/** The same in a page that a test has made. @internal */
export function sharedWebSocketIn(
  page: SharingPage,
  start: () => SharedWorkerLike,
  { user, WebSocket = page.WebSocket! }: SharedWebSocketOptions,
): WebSocketClass {
  const { SharedWorker, MessageChannel, navigator, location } = page
  const locks = navigator?.locks
  /** Sharing has failed, or cannot work here. */
  let isAlone = !SharedWorker || !MessageChannel || !locks
  let worker: Promise<{ readonly port: SharedWorkerLike['port']; readonly lock: string }> | undefined
  /** The sockets for which the worker has not answered. */
  const unanswered = new Set<SharedSocket>()

  /** The sockets that wait are lost: what comes next is on its own. */
  const giveUp = (): void => {
    isAlone = true
    for (const socket of unanswered) socket.lose()
    unanswered.clear()
  }

  /** Starts the worker, and takes the lock by which it learns that this page is gone. */
  const begin = async (): Promise<{ port: SharedWorkerLike['port']; lock: string }> => {
    const begun = start()
    begun.onerror = giveUp
    const lock = `millrace ${systemRuntime.randomBytes(16).join('.')}`
    await new Promise<void>((held, fail) => {
      locks!
        .request(lock, () => {
          held()
          return new Promise(() => {})
        })
        .catch(fail)
    })
    return { port: begun.port, lock }
  }

  // A function, because a constructor of a class must not make something else.
  return function open(url: string, protocol: string): WebSocketLike {
    if (isAlone) return new WebSocket(url, protocol)
    const request = { url: new URL(url, location?.href).href, user }
    const { port1, port2 } = new MessageChannel!()
    const socket: SharedSocket = new SharedSocket(port1, (isOpen) => {
      if (unanswered.delete(socket) && !isOpen) giveUp()
    })
    unanswered.add(socket)
    worker ??= begin()
    worker.then(
      ({ port, lock }) => port.postMessage({ ...request, lock } satisfies SocketRequest, [port2 as never]),
      giveUp,
    )
    return socket
  } as unknown as WebSocketClass
}

/** A socket whose connection is in the worker. */
class SharedSocket implements WebSocketLike {
  binaryType = 'arraybuffer'
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  readonly #port: Port
  readonly #answered: (isOpen: boolean) => void

  /** @param answered Called when the worker says its first word, or has taken too long to. */
  constructor(port: Port, answered: (isOpen: boolean) => void) {
    this.#port = port
    this.#answered = answered
    port.onmessage = ({ data }: { data: unknown }) => this.#receive(data)
  }

  send(data: Uint8Array): void {
    this.#port.postMessage(data)
  }

  close(code?: number): void {
    // A client that closes by itself gives a code. Without one, its try to connect took too long.
    this.#answered(code !== undefined)
    this.#port.postMessage(code)
    this.#port.close()
  }

  /** The worker cannot be used. */
  lose(): void {
    this.#close({ code: 1006, reason: '' })
  }

  #receive(data: unknown): void {
    this.#answered(true)
    if (data === OPEN) call(this.onopen)
    else if (ArrayBuffer.isView(data)) call(this.onmessage, { data })
    else this.#close(data as Closed)
  }

  #close(closed: Closed): void {
    this.#port.close()
    call(this.onclose, closed)
  }
}

function call(handler: unknown, event?: object): void {
  ;(handler as ((event?: object) => void) | undefined)?.(event)
}
