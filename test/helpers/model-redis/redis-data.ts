/** A sorted set, a hash, a list, a stream or a text. Texts have one character for each byte. */
export type RedisValue = SortedSet | Map<string, string> | string[] | RedisStream | string

export class SortedSet {
  readonly scores = new Map<string, number>()
  #sorted: [member: string, score: number][] | undefined

  set(member: string, score: number): void {
    this.scores.set(member, score)
    this.#sorted = undefined
  }

  delete(member: string): boolean {
    this.#sorted = undefined
    return this.scores.delete(member)
  }

  /** By score, and then by the bytes of the members. */
  get sorted(): readonly (readonly [member: string, score: number])[] {
    this.#sorted ??= [...this.scores].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))
    return this.#sorted
  }
}

/** Entries by their ids. Only the first part of an id is used here: the second is 0. */
export class RedisStream {
  entries: { readonly id: number; readonly fields: readonly string[] }[] = []
  lastId = 0
}

type Entry = { value: RedisValue; expiresAt: number }

/** The keys of a Redis. A key without a value is none. */
export class RedisData {
  readonly #entries = new Map<string, Entry>()
  readonly #now: () => number

  /** @param now in milliseconds, by which keys expire. */
  constructor(now: () => number) {
    this.#now = now
  }

  get(key: string): RedisValue | undefined {
    return this.#entry(key)?.value
  }

  set(key: string, value: RedisValue): void {
    const entry = this.#entry(key)
    if (entry) entry.value = value
    else this.#entries.set(key, { value, expiresAt: Number.POSITIVE_INFINITY })
  }

  delete(key: string): boolean {
    return this.#entry(key) !== undefined && this.#entries.delete(key)
  }

  keys(): string[] {
    return [...this.#entries.keys()].filter((key) => this.#entry(key))
  }

  /** When it expires; undefined without such a key. */
  expiresAt(key: string): number | undefined {
    return this.#entry(key)?.expiresAt
  }

  /** @returns whether there is such a key. */
  expireAt(key: string, at: number): boolean {
    const entry = this.#entry(key)
    if (!entry) return false
    entry.expiresAt = at
    return true
  }

  clear(): void {
    this.#entries.clear()
  }

  /** Becomes what another one is. */
  takeFrom(other: RedisData): void {
    this.clear()
    for (const [key, { value, expiresAt }] of other.#entries)
      this.#entries.set(key, { value: copyOf(value), expiresAt })
  }

  #entry(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (!entry || entry.expiresAt > this.#now()) return entry
    this.#entries.delete(key)
    return undefined
  }
}

function copyOf(value: RedisValue): RedisValue {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return [...value]
  if (value instanceof Map) return new Map(value)
  if (value instanceof RedisStream)
    return Object.assign(new RedisStream(), { entries: [...value.entries], lastId: value.lastId })
  const copy = new SortedSet()
  for (const [member, score] of value.scores) copy.set(member, score)
  return copy
}
