import { createHash } from 'node:crypto'
import type { DueNotice, Outbox, StoredNotice } from '../run-store.ts'
import type { Reply } from './client.ts'
import { SCRIPTS } from './scripts.ts'
import type { RedisPlace } from './shared-redis.ts'

/** The notices of one Redis or several. One that came with an append is where its run is. */
export class RedisOutbox implements Outbox {
  readonly #key: string
  readonly #places: () => readonly RedisPlace[]
  /** Where each notice is that was given out here. */
  readonly #placeOf = new Map<string, RedisPlace>()
  #turn = 0

  /**
   * @param key of the outbox in each Redis.
   * @param places every Redis of the store. @throws MillraceError `store_unavailable` when it is not open.
   */
  constructor(key: string, places: () => readonly RedisPlace[]) {
    this.#key = key
    this.#places = places
  }

  async add(notices: readonly StoredNotice[]): Promise<void> {
    await Promise.all(notices.map((notice) => this.#addOne(notice)))
  }

  /** In the Redis that its id names; in the next one while that is away. */
  async #addOne({ id, body }: StoredNotice): Promise<void> {
    const places = this.#places()
    const at = createHash('sha1').update(id).digest().readUInt32BE() % places.length
    const failures: Error[] = []
    for (const place of [...places.slice(at), ...places.slice(0, at)]) {
      try {
        await place.run(SCRIPTS['notice-add'], [this.#key], [id, Buffer.from(body)])
        return
      } catch (error) {
        // One that has it all the same, and could not say so, sends it a second time under the same id.
        failures.push(error as Error)
      }
    }
    const [failure = new Error('this store has no Redis')] = failures
    throw failure
  }

  async take(most: number, forMs: number): Promise<DueNotice[]> {
    const places = this.#places()
    const found: DueNotice[] = []
    const failures: Error[] = []
    // One after the other, and each of them comes first in turn.
    this.#turn = (this.#turn + 1) % places.length
    for (const place of [...places.slice(this.#turn), ...places.slice(0, this.#turn)]) {
      if (found.length >= most) break
      try {
        const args = [`${most - found.length}`, `${forMs}`]
        const due = (await place.run(SCRIPTS['notice-take'], [this.#key], args)) as Reply[][]
        for (const notice of due.map(dueNotice)) {
          this.#placeOf.set(notice.id, place)
          found.push(notice)
        }
      } catch (error) {
        // What is in the others goes on while one of them is away.
        failures.push(error as Error)
      }
    }
    const [failure] = failures
    if (failure && found.length === 0) throw failure
    return found
  }

  async remove(id: string): Promise<void> {
    await this.#atPlace(id, (place) => place.run(SCRIPTS['notice-remove'], [this.#key], [id]))
  }

  async putOff(id: string, ms: number): Promise<void> {
    const args = [id, `${Math.round(ms)}`]
    await this.#atPlace(id, (place) => place.run(SCRIPTS['notice-put-off'], [this.#key], args))
  }

  async trim(most: number): Promise<{ removed: number; left: number }> {
    const places = this.#places()
    const share = Math.ceil(most / places.length)
    const answers = await Promise.allSettled(
      places.map((place) => place.run(SCRIPTS['notice-trim'], [this.#key], [`${share}`])),
    )
    const given = answers.filter((answer) => answer.status === 'fulfilled').map(({ value }) => value as Reply[])
    // What is in the others goes on while one of them is away.
    if (given.length === 0) throw (answers[0] as PromiseRejectedResult).reason
    const sum = (index: 0 | 1): number => given.reduce((total, counts) => total + Number(counts[index]), 0)
    return { removed: sum(0), left: sum(1) }
  }

  /** Where a notice is that was given out here; else everywhere. */
  async #atPlace(id: string, call: (place: RedisPlace) => Promise<unknown>): Promise<void> {
    const place = this.#placeOf.get(id)
    // Whatever comes of the call: the notice is given out once more before it is asked for again.
    this.#placeOf.delete(id)
    await Promise.all((place ? [place] : this.#places()).map(call))
  }
}

function dueNotice([id, body, attempt, ageMs]: Reply[]): DueNotice {
  return { id: String(id), body: new Uint8Array(body as Buffer), attempt: Number(attempt), ageMs: Number(ageMs) }
}
