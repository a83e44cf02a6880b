import { MessageChannel } from 'node:worker_threads'
import { NodeWebSocket } from '../../client-sdk/node.ts'
import { systemRuntime } from '../../client-sdk/runtime.ts'
import { SharedConnections } from '../../client-sdk/shared-connections.ts'
import type { Port } from '../../client-sdk/shared-messages.ts'
import {
  type SharedWebSocketOptions,
  type SharedWorkerLike,
  type SharingPage,
  sharedWebSocketIn,
} from '../../client-sdk/shared-websocket.ts'
import type { WebSocketClass } from '../../client-sdk/socket.ts'

/** One page of a browser. */
export type BrowserPage = {
  /** The class of its sockets. */
  readonly WebSocket: WebSocketClass
  /** How often it has started the worker. */
  readonly starts: number
  /** It is gone without a word, and the browser frees what it held. */
  die(): void
}

/** What a page differs in from one that can share. */
export type BrowserPageOptions = Partial<SharedWebSocketOptions> & {
  /** What its browser lacks. */
  without?: 'SharedWorker' | 'locks' | undefined
  /** Starts the worker. Default: that of the browser. */
  start?: (() => SharedWorkerLike) | undefined
}

/** A browser without a window: Web Locks, channels, and the code of the shared worker, in this process. */
export class SharedBrowser implements Disposable {
  /** By the name of a lock that is held, who waits for it. */
  readonly #locks = new Map<string, Set<() => void>>()
  readonly #ports: Port[] = []
  /** What its worker has. */
  readonly connections: SharedConnections = new SharedConnections({
    WebSocket: NodeWebSocket,
    runtime: systemRuntime,
    gone: (lock, signal) =>
      new Promise<void>((resolve, reject) => {
        const waiting = this.#locks.get(lock)
        if (!waiting) return resolve()
        waiting.add(resolve)
        signal.addEventListener('abort', () => {
          waiting.delete(resolve)
          reject(new Error('nobody waits any more'))
        })
      }),
  })

  /** How many requests for locks wait. */
  get waiting(): number {
    return [...this.#locks.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** A lock that is held for good. */
  hold(): string {
    const name = `held ${this.#locks.size}`
    this.#locks.set(name, new Set())
    return name
  }

  page({ without, start, ...options }: BrowserPageOptions = {}): BrowserPage {
    const locks: string[] = []
    let starts = 0
    const request = (name: string, held: () => Promise<never>): Promise<unknown> => {
      locks.push(name)
      this.#locks.set(name, new Set())
      return held()
    }
    const page: SharingPage = {
      location: { href: 'http://127.0.0.1/chat/' },
      MessageChannel: this.channels,
      ...(without !== 'SharedWorker' && { SharedWorker: Object }),
      navigator: without === 'locks' ? {} : { locks: { request } },
    }
    const begin = (): SharedWorkerLike => {
      starts++
      return start ? start() : this.worker()
    }
    return {
      WebSocket: sharedWebSocketIn(page, begin, { user: 'alice', WebSocket: NodeWebSocket, ...options }),
      get starts() {
        return starts
      },
      die: () => {
        for (const name of locks) {
          for (const granted of this.#locks.get(name) ?? []) granted()
          this.#locks.delete(name)
        }
      },
    }
  }

  /** The worker, as a page that has started it sees it. */
  worker(): SharedWorkerLike {
    const postMessage = (message: unknown, [port]: Port[]): void => this.connections.open(message, port!)
    return { port: { postMessage }, onerror: undefined }
  }

  /** The class `MessageChannel`, whose ports are closed with the browser. */
  get channels(): new () => { port1: Port; port2: Port } {
    const ports = this.#ports
    return class {
      readonly port1: Port
      readonly port2: Port
      constructor() {
        const { port1, port2 } = new MessageChannel()
        ports.push(port1 as unknown as Port, port2 as unknown as Port)
        this.port1 = port1 as unknown as Port
        this.port2 = port2 as unknown as Port
      }
    }
  }

  [Symbol.dispose](): void {
    for (const port of this.#ports) port.close()
  }
}
