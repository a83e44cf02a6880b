import { EventEmitter } from 'node:events'
import type { WebSocket } from 'ws'
import type { MemoryTransport, MemoryWebSocketOptions } from '../../server/index.ts'

/**
 * The class that clients of a memory transport are given, in the shape of that of `ws`: what tests use of it. One that
 * does not read holds up the whole transport, and one that leaves without a word cuts it.
 */
export function memoryPeer(transport: MemoryTransport): typeof WebSocket {
  class MemoryPeer extends EventEmitter {
    readonly OPEN = 1
    readonly #socket: InstanceType<MemoryTransport['WebSocket']>

    constructor(url: string, protocols: string[], options: MemoryWebSocketOptions = {}) {
      super()
      this.#socket = new transport.WebSocket(url, protocols, options)
      this.#socket.onopen = () => this.emit('open')
      this.#socket.onerror = ({ error }: { error: Error }) => this.emit('error', error)
      this.#socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
        this.emit('close', code, Buffer.from(reason))
      this.#socket.onmessage = ({ data }: { data: ArrayBuffer }) => this.emit('message', Buffer.from(data), true)
    }

    get protocol(): string {
      return this.#socket.protocol
    }

    get readyState(): number {
      return this.#socket.readyState
    }

    send(data: string | Uint8Array): void {
      this.#socket.send(data)
    }

    close(code?: number, reason?: string): void {
      this.#socket.close(code, reason)
    }

    terminate(): void {
      transport.cut()
    }

    pause(): void {
      transport.pause()
    }

    resume(): void {
      transport.resume()
    }
  }
  return MemoryPeer as unknown as typeof WebSocket
}
