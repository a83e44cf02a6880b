import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type VerifiedNotice, verifyNotice } from '../../server/notices/verify-notice.ts'

/** A secret of 32 bytes. */
export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
/** Its bytes, which must be in no log. */
export const CANARY = Buffer.alloc(32, 7).toString('base64')

/** A request that a receiver got. */
export type Received = VerifiedNotice & { readonly request: IncomingMessage; readonly body: string }

/** What a receiver does with the request of this number, from 1. */
export type Answering = (response: ServerResponse, n: number, received: Received) => unknown

const accept: Answering = (response) => void response.writeHead(204).end()

/** A program that receives notices, on a loopback address. It checks each signature; a wrong one fails its test. */
export class NoticeReceiver implements AsyncDisposable {
  readonly received: Received[] = []
  readonly failures: unknown[] = []
  readonly #server: Server
  readonly #heard = new Set<() => void>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(answer: Answering = accept, toleranceMs = 300_000): Promise<NoticeReceiver> {
    const server = createServer()
    const receiver = new NoticeReceiver(server)
    server.on('request', (request, response) => {
      void receiver.#take(request, response, answer, toleranceMs)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return receiver
  }

  async #take(
    request: IncomingMessage,
    response: ServerResponse,
    answer: Answering,
    toleranceMs: number,
  ): Promise<void> {
    try {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const body = Buffer.concat(chunks).toString()
      const received = { ...verifyNotice(body, request.headers, { secret: SECRET, toleranceMs }), request, body }
      this.received.push(received)
      answer(response, this.received.length, received)
    } catch (error) {
      this.failures.push(error)
      response.writeHead(500).end()
    }
    for (const heard of [...this.#heard]) heard()
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hooks/canary-path?key=canary-query`
  }

  /** Resolves once this many requests have come. */
  async count(n: number): Promise<readonly Received[]> {
    while (this.received.length < n) {
      if (this.failures.length > 0) throw this.failures[0]
      await new Promise<void>((resolve) => {
        const heard = (): void => {
          this.#heard.delete(heard)
          resolve()
        }
        this.#heard.add(heard)
      })
    }
    return this.received
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
    if (this.failures.length > 0) throw this.failures[0]
  }
}
