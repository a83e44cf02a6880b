import type { RedisClient } from './client.ts'
import type { Link } from './link.ts'

type Listener = (message: Buffer) => void

/** Who listens to a channel, and what the client calls for each message. */
type Channel = { readonly listeners: Set<Listener>; readonly heard: Listener; isConfirmed: boolean }

/**
 * What Redis says without being asked, over a connection of its own. It is a hint and never more: whoever listens also
 * looks by itself, now and then, and each time that the connection is a new one.
 */
export class Hints {
  readonly #link: Link
  readonly #renewed: () => void
  readonly #isDeaf: boolean
  readonly #channels = new Map<string, Channel>()
  #client: RedisClient | undefined

  /**
   * @param renewed The connection is a new one: hints may have been lost.
   * @param isDeaf Drops every hint. For tests.
   */
  constructor(link: Link, renewed: () => void, isDeaf: boolean) {
    this.#link = link
    this.#renewed = renewed
    this.#isDeaf = isDeaf
  }

  /** Connects. Call it once the link is open. Resolves with the first connection, or failure: hints may come later. */
  async open(): Promise<void> {
    const client = this.#link.another()
    this.#client = client
    await new Promise<void>((resolve) => {
      // The link tells of the same failure.
      client.on('error', () => resolve())
      client.on('ready', () => {
        resolve()
        if (this.#client !== client) return
        // The client repeats by itself what was confirmed.
        for (const [name, channel] of this.#channels) if (!channel.isConfirmed) void this.#subscribe(name, channel)
        this.#renewed()
      })
      client.connect().catch(() => resolve())
    })
  }

  close(): void {
    const client = this.#client
    this.#client = undefined
    this.#channels.clear()
    client?.destroy()
  }

  /** Listens to a channel. Resolves once Redis has confirmed it, or cannot now. Gives what ends it. */
  async listen(name: string, listener: Listener): Promise<() => void> {
    const channel = this.#channels.get(name) ?? this.#channel()
    this.#channels.set(name, channel)
    channel.listeners.add(listener)
    if (!channel.isConfirmed) await this.#subscribe(name, channel)
    return () => {
      channel.listeners.delete(listener)
      if (channel.listeners.size > 0 || this.#channels.get(name) !== channel) return
      this.#channels.delete(name)
      void this.#client?.unsubscribe(name).catch(() => {})
    }
  }

  #channel(): Channel {
    const listeners = new Set<Listener>()
    const heard = (message: Buffer): void => {
      if (!this.#isDeaf) for (const listener of [...listeners]) listener(message)
    }
    return { listeners, heard, isConfirmed: false }
  }

  async #subscribe(name: string, channel: Channel): Promise<void> {
    const client = this.#client
    if (!client?.isReady) return
    try {
      await client.subscribe(name, channel.heard, true)
      channel.isConfirmed = this.#client === client
    } catch {
      // The next connection tries again.
    }
  }
}
