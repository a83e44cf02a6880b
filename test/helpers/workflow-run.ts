import { type Client, createClient, type StartOptions } from '../../client-sdk/node.ts'
import type { Actor, MillraceServer, ServerOptions } from '../../server/index.ts'
import { Watched } from './agent-run.ts'
import { testServer } from './server.ts'

/** A real server with one workflow, and a client of it. */
export interface ServedWorkflow extends AsyncDisposable {
  readonly server: MillraceServer<{ work: Actor }>
  readonly client: Client
  readonly url: string
  /** The errors that `onError` got. */
  readonly errors: unknown[]
  start(input: unknown, options?: StartOptions): Watched
  /** A client of somebody else, which is closed with the server. */
  another(token: string): Client
}

export async function servedWorkflow(
  work: object,
  options: Partial<ServerOptions<{ work: Actor }>> = {},
): Promise<ServedWorkflow> {
  const served = await testServer({ work: work as Actor }, options)
  const clients: Client[] = []
  const another = (token: string): Client => {
    const made = createClient(served.url, { token })
    clients.push(made)
    return made
  }
  const client = another('alice')
  return {
    server: served.server,
    client,
    another,
    url: served.url,
    errors: served.errors,
    start: (input, startOptions) => new Watched(client.start('work', input, startOptions)),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((one) => one.close()))
      await served[Symbol.asyncDispose]()
    },
  }
}

/** What its steps said: their ids, and how they began or ended. */
export const stepsOf = (watched: Watched): string[] => watched.all('step').map(({ id, status }) => `${id} ${status}`)
