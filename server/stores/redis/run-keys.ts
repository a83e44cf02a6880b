/** The names of the keys and channels of one deployment in a Redis. All keys of a run have its id in braces. */
export class RunKeys {
  readonly #prefix: string

  /** @param prefix of all of them. */
  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** What comes before and behind an id in the key of a run's meta. */
  get metaOf(): readonly [before: string, behind: string] {
    return [`${this.#prefix}:{`, '}:m']
  }

  /** The keys that a script about one run takes. @param principal if it is known. */
  of(id: string, principal?: string): string[] {
    const keys = ['m', 'l', 'i', 'q', 'v', 'r'].map((part) => `${this.#prefix}:{${id}}:${part}`)
    return [...keys, this.live, principal === undefined ? this.live : this.listOf(principal)]
  }

  /** Has the runs that have no end, by the time at which to look at them. */
  get live(): string {
    return `${this.#prefix}:live`
  }

  /** What comes before a principal in the key of its list. */
  get lists(): string {
    return `${this.#prefix}:p:`
  }

  /** Has the runs of a principal, by the time of their start. It is also a channel, which says ids of those that changed. */
  listOf(principal: string): string {
    return `${this.lists}${principal}`
  }

  /** What comes before a pool in the key of the runs that wait in it, by the time since when. It is also a channel. */
  get waiting(): string {
    return `${this.#prefix}:w:`
  }

  /** Has the notices that wait, by the time at which each is due. What else is known of them stands behind it. */
  get outbox(): string {
    return `${this.#prefix}:notices`
  }

  /** Has the secret from which the ids of keys are made, or what it is recognized by. */
  get secret(): string {
    return `${this.#prefix}:secret`
  }

  /** Says that a run has changed, and its new items. */
  channelOf(id: string): string {
    return `${this.#prefix}:{${id}}:c`
  }

  /** What comes before a node in the name of its channel, which says ids of runs to look at. */
  get nodes(): string {
    return `${this.#prefix}:n:`
  }
}
