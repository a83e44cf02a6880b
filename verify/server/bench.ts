import type { Welcome } from '../../protocol/frames.ts'
import { pause } from '../arrivals.ts'
import type { Check } from '../check.ts'
import { NotJudged } from '../mismatch.ts'
import { Peer, type PeerOptions, type PeerPlace } from './peer.ts'

/** What only the operator of a server has. What needs it is not judged without. */
export type OperatorMeans = {
  /** A token of another principal. */
  readonly otherToken?: string | undefined
  /** Tells the server to go away, and resolves when it was told, or is gone. */
  readonly drain?: (() => Promise<void>) | undefined
}

/** What a check of a server works with: sockets, which it closes when the check is over. */
export class ServerBench {
  readonly #place: PeerPlace
  readonly #check: Check<ServerBench>
  readonly otherToken: string | undefined
  readonly #drain: (() => Promise<void>) | undefined

  constructor(place: PeerPlace, check: Check<ServerBench>, { otherToken, drain }: OperatorMeans) {
    this.#place = place
    this.#check = check
    this.otherToken = otherToken
    this.#drain = drain
  }

  /** The token of the principal that is judged. */
  get token(): string | undefined {
    return this.#place.token
  }

  get url(): string {
    return this.#place.url
  }

  get patienceMs(): number {
    return this.#place.patienceMs
  }

  /** How late something may be that has a time to come at, on a machine that has other things to do. */
  get lateMs(): number {
    return this.patienceMs / 2
  }

  /**
   * Connects.
   * @throws Mismatch when that fails, and NotJudged when the server lacks the feature of the check.
   */
  async connect(options: PeerOptions = {}): Promise<Peer> {
    const peer = await Peer.connect(this.#place, options)
    const { feature } = this.#check
    const welcome = peer.frames.find((frame): frame is Welcome => frame.kind === 'welcome')
    if (feature === undefined || !welcome || welcome.features?.includes(feature)) return peer
    await peer[Symbol.asyncDispose]()
    throw new NotJudged(`the server does not list the feature ${feature}`)
  }

  /** Tells the server to go away. @throws NotJudged where nobody has said how, or where that fails. */
  async drain(): Promise<void> {
    if (!this.#drain) throw new NotJudged('needs --drain, with a command that tells the server to go away')
    await this.#drain().catch((error: unknown) => {
      throw new NotJudged(`the server could not be told to go away: ${(error as Error).message}`)
    })
  }

  /** Waits for a time that the protocol names. */
  pause(ms: number): Promise<void> {
    return pause(ms, this.#place.signal)
  }
}

export type ServerCheck = Check<ServerBench>
