import * as presentClient from '../../client-sdk/node.ts'
import * as presentServer from '../../server/index.ts'

/** What the tests use of a client. Its older releases had the same. */
export type ClientModule = Pick<typeof presentClient, 'createClient'>
/** What the tests use of a server. */
export type ServerModule = Pick<typeof presentServer, 'actor' | 'bearer' | 'createServer'>

/** The releases that are kept, as `scripts/bundle-release.mjs` made them. */
const RELEASES = ['0.1.0'] as const

/** A client of one release and a server of another. */
export type Pair = { readonly name: string; readonly client: ClientModule; readonly server: ServerModule }

/** One file of a release. */
async function bundled(release: string, file: 'client' | 'server'): Promise<unknown> {
  return (await import(new URL(`release-${release}/${file}.mjs`, import.meta.url).href)) as unknown
}

async function oldClient(release: (typeof RELEASES)[number]): Promise<ClientModule> {
  return (await bundled(release, 'client')) as ClientModule
}

export async function oldServer(release: (typeof RELEASES)[number] = '0.1.0'): Promise<ServerModule> {
  return (await bundled(release, 'server')) as ServerModule
}

/** Each release with the present state of the other side, and the present state with itself. */
export async function pairs(): Promise<Pair[]> {
  const mixed = await Promise.all(
    RELEASES.map(
      async (release): Promise<Pair[]> => [
        { name: `a client of ${release} with this server`, client: await oldClient(release), server: presentServer },
        { name: `this client with a server of ${release}`, client: presentClient, server: await oldServer(release) },
      ],
    ),
  )
  return [...mixed.flat(), { name: 'this client with this server', client: presentClient, server: presentServer }]
}
