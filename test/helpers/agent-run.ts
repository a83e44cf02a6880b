import { type Client, createClient, type Run, type StreamEvent } from '../../client-sdk/node.ts'
import { type Actor, type AgentDefinition, agent, type MillraceServer, type ServerOptions } from '../../server/index.ts'
import { Collector } from './collector.ts'
import { testServer } from './server.ts'

export type EventOfType<Type extends StreamEvent['type']> = Extract<StreamEvent, { type: Type }>

/** A real server with one agent, and a real client of it. */
export interface ServedAgent extends AsyncDisposable {
  readonly server: MillraceServer<{ agent: Actor }>
  readonly client: Client
  readonly url: string
  /** The errors that `onError` got. */
  readonly errors: unknown[]
  /** Another client, by default of the same person, which is closed with the server. */
  another(url?: string, token?: string): Client
}

export async function servedAgent<Context = unknown>(
  definition: AgentDefinition<Context>,
  options: Partial<ServerOptions<{ agent: Actor }>> = {},
): Promise<ServedAgent> {
  const served = await testServer({ agent: agent(definition) }, options)
  const clients: Client[] = []
  const another = (url = served.url, token = 'alice'): Client => {
    const client = createClient(url, { token })
    clients.push(client)
    return client
  }
  return {
    server: served.server,
    client: another(),
    another,
    url: served.url,
    errors: served.errors,
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()))
      await served[Symbol.asyncDispose]()
    },
  }
}

/** A run with one reader, whose events can be waited for. */
export class Watched {
  readonly run: Run
  readonly over: Promise<unknown>
  readonly #came = new Collector<StreamEvent>({ describe: () => JSON.stringify(this.events) })

  constructor(run: Run) {
    this.run = run
    this.over = this.#read()
  }

  get events(): readonly StreamEvent[] {
    return this.#came.items
  }

  /** The first event of that type for which `accepts` holds, once it is there. */
  first<Type extends StreamEvent['type']>(
    type: Type,
    accepts: (event: EventOfType<Type>) => boolean = () => true,
  ): Promise<EventOfType<Type>> {
    return this.#came.find(() => this.all(type).find(accepts), type)
  }

  all<Type extends StreamEvent['type']>(type: Type): EventOfType<Type>[] {
    return this.events.filter((event): event is EventOfType<Type> => event.type === type)
  }

  /** All text said. */
  get text(): string {
    return this.all('token')
      .map(({ text }) => text)
      .join('')
  }

  /** The events without what differs from run to run. */
  get comparable(): object[] {
    return this.events.map((event) => {
      const { seq: _, at: __, ...rest } = event
      return 'ms' in rest ? { ...rest, ms: 0 } : rest
    })
  }

  async #read(): Promise<unknown> {
    try {
      for await (const event of this.run) this.#came.add(event)
      return undefined
    } catch (error) {
      return error
    } finally {
      this.#came.end('the run ended')
    }
  }
}
