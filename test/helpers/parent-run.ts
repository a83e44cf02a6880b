import { createClient, type Run } from '../../client-sdk/node.ts'
import { type ActorContext, actor, type RunEvent } from '../../server/index.ts'
import { Watched } from './agent-run.ts'
import { eventually, testServer } from './server.ts'

export type ServedParent = Awaited<ReturnType<typeof servedParent>>

/** A server with one actor, `parent`, that does `work`, and a client of it. */
export async function servedParent(
  work: (context: ActorContext, input: unknown) => AsyncIterable<string | RunEvent, unknown>,
  options: Parameters<typeof testServer>[1] = {},
) {
  const parent = actor({ stream: (input, context) => work(context, input) })
  const served = await testServer({ parent }, options)
  const client = createClient(served.url, { token: 'alice' })
  return {
    server: served.server,
    url: served.url,
    errors: served.errors,
    client,
    peer: () => served.client(),
    start: (): Watched => new Watched(client.start('parent', undefined)),
    async [Symbol.asyncDispose]() {
      await client.close()
      await served[Symbol.asyncDispose]()
    },
  }
}

/** No run takes a slot any more. */
export const allSettled = ({ server }: Pick<ServedParent, 'server'>): Promise<void> =>
  eventually(() => server.liveRuns === 0, 'every run settles')

/** How a run ended, once it has, and its events without what differs from run to run. */
export async function finished(watched: Watched): Promise<{ over: unknown; events: object[]; run: Run }> {
  return { over: await watched.over, events: watched.comparable, run: watched.run }
}

export const codeOf = (error: unknown): string => (error as { code: string }).code
