import type { ServeOptions } from '../peers/peer.ts'
import { ALL, type PeerName } from '../peers/peers.ts'
import type { AwayCommands, AwayProcessOptions } from '../processes/away-process.ts'
import type { ClientCommands, ClientProcessOptions } from '../processes/client-process.ts'
import type { ProviderCommands } from '../processes/provider-process.ts'
import type { ServerCommands, ServerProcessOptions } from '../processes/server-process.ts'
import { coresToPin } from './machine.ts'
import { PinnedProcess } from './pinned-process.ts'

export type ServerProcess = PinnedProcess<ServerCommands>
export type ClientProcess = PinnedProcess<ClientCommands>
export type AwayProcess = PinnedProcess<AwayCommands>
export type ProviderProcess = PinnedProcess<ProviderCommands>

/** A server, and a process of clients of the same peer. */
export type Pair = { peer: PeerName; server: ServerProcess; client: ClientProcess; port: number }

/** The processes of one question: servers on one core, everything else on another. */
export class Stage implements AsyncDisposable {
  readonly #processes: AsyncDisposable[] = []
  readonly #serverCore: number | undefined
  readonly #clientCore: number | undefined

  constructor() {
    const cores = coresToPin()
    this.#serverCore = cores?.[0]
    this.#clientCore = cores?.[1] ?? cores?.[0]
  }

  /**
   * A server of a peer, or without one the token source alone.
   * @param cores `any`: one with threads of its own may use every core. Default: all servers share one.
   */
  server(peer: PeerName | undefined, options: ServeOptions = {}, cores: 'one' | 'any' = 'one'): ServerProcess {
    const given: ServerProcessOptions = { ...options, ...(peer !== undefined && { peer }) }
    const core = cores === 'one' ? this.#serverCore : undefined
    const label = `server of ${peer ?? 'nobody'}`
    return this.#use(new PinnedProcess<ServerCommands>('server-process.js', core, given, label))
  }

  /** Clients of a peer. Those that are only `load` leave their core to the others, where both want it. */
  client(peer: PeerName, port: number, role: 'measured' | 'load' = 'measured'): ClientProcess {
    const options: ClientProcessOptions = { peer, port }
    const label = `client of ${peer}`
    return this.#use(
      new PinnedProcess<ClientCommands>('client-process.js', this.#clientCore, options, label, role === 'load'),
    )
  }

  /** Clients that read at one server what they start at another. */
  away(options: AwayProcessOptions): AwayProcess {
    return this.#use(new PinnedProcess<AwayCommands>('away-process.js', this.#clientCore, options, 'client of two'))
  }

  provider(): ProviderProcess {
    return this.#use(new PinnedProcess<ProviderCommands>('provider-process.js', this.#clientCore, {}, 'provider'))
  }

  /** A server that listens, and a process that has no connection to it yet. */
  async pair(peer: PeerName, options: ServeOptions = {}): Promise<Pair> {
    const server = this.server(peer, options)
    const port = await server.ask('listening')
    return { peer, server, port, client: this.client(peer, port) }
  }

  /** Pairs of these peers, by name. */
  async pairs(peers: readonly PeerName[] = ALL, options: ServeOptions = {}): Promise<Map<PeerName, Pair>> {
    const pairs = await Promise.all(peers.map((peer) => this.pair(peer, options)))
    return new Map(pairs.map((pair) => [pair.peer, pair]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.splice(0).map((one) => one[Symbol.asyncDispose]()))
  }

  #use<Used extends AsyncDisposable>(used: Used): Used {
    this.#processes.push(used)
    return used
  }
}
