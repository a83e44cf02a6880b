import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { ConversationStore } from '../../server/index.ts'
import type { RedisServer } from './redis-server.ts'

/** Stands between a store and its Redis, and loses answers: Redis has done what was asked, and nobody knows. */
export class ReplyLoser implements AsyncDisposable {
  readonly url: string
  /** How many answers were lost. */
  lost = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #losesNext = false

  static async of(redis: RedisServer): Promise<ReplyLoser> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new ReplyLoser(server, Number(new URL(redis.url).port))
  }

  private constructor(server: Server, port: number) {
    this.#server = server
    this.url = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on('connection', (client) => {
      const redis = connect(port, '127.0.0.1')
      const cut = (): void => {
        client.destroy()
        redis.destroy()
      }
      for (const socket of [client, redis]) {
        this.#sockets.add(socket)
        socket
          .on('error', () => {})
          .on('close', () => {
            this.#sockets.delete(socket)
            cut()
          })
      }
      client.pipe(redis)
      redis.on('data', (answer) => {
        if (!this.#losesNext) return void client.write(answer)
        this.#losesNext = false
        this.lost++
        cut()
      })
    })
  }

  /** The next answer is lost, and its connection with it. */
  loseNext(): void {
    this.#losesNext = true
  }

  /** The store, of which each call loses its first answer. */
  around(store: ConversationStore): ConversationStore {
    const losing = <Call extends (...args: never[]) => Promise<unknown>>(call: Call): Call =>
      (async (...args) => {
        // It is connected, and the answer to come is that of the call.
        await store.count('nobody')
        this.loseNext()
        return call(...args)
      }) as Call
    return {
      load: losing((key) => store.load(key)),
      save: losing((...what) => store.save(...what)),
      remove: losing((key) => store.remove(key)),
      removeAll: losing((owner) => store.removeAll(owner)),
      count: losing((owner) => store.count(owner)),
      list: losing((...what) => store.list(...what)),
      search: (...what) => store.search(...what),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
