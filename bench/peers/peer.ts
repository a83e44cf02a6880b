import type { Limits } from 'millrace/server'
import type { TokenRequest } from '../processes/token-source.ts'

/** What a server process is started with. */
export type ServeOptions = {
  /** Limits of our own server that differ from its defaults. */
  limits?: Partial<Limits>
  /** Port of the model provider, for agents whose model waits. */
  providerPort?: number
  /** Whether `bufferedAmount` and `cut` are wanted of our own server, which has to be watched for them. */
  watched?: boolean
  /** Where our own server keeps its runs. Default: nowhere. */
  store?: StoreChoice
  /** Whether the lag of the event loop is wanted, which costs a little to watch. */
  lag?: boolean
}

/** A file, or a Redis. */
export type StoreChoice = { durability: 'eager' | 'logged' } & ({ path: string } | { url: string; prefix: string })

/** The server of one peer, on 127.0.0.1. */
export interface PeerServer {
  readonly port: number
  /** Bytes that wait in its sockets now, of the one that holds most. */
  bufferedAmount?(): number
  /** Cuts all its sockets without a word. */
  cut?(): void
  /** Sends the tokens of one request to every client that has joined. */
  broadcast?(request: TokenRequest): Promise<void>
}

/** One connection of a peer's own client. */
export interface PeerClient {
  /**
   * Starts a stream and reads it. To leave the loop cancels it, by whatever means this peer has.
   * @param credit how much may be under way, where there is such a thing.
   */
  read(request: TokenRequest, credit?: number): AsyncIterable<string>
  close(): Promise<void>
}

/** Something that streams tokens: its server as its documentation has it, and its own client. */
export interface Peer {
  serve(options: ServeOptions): Promise<PeerServer>
  /**
   * @param n tells the clients of one process apart.
   * @param atOnce whether it comes back from a loss without waiting, where it can come back.
   */
  connect(port: number, n: number, atOnce: boolean): Promise<PeerClient>
}
