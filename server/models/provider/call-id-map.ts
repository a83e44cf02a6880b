/** Characters that some provider refuses in the id of a call, and the maximum length that all accept. */
const INVALID = /[^a-zA-Z0-9_-]/g
const MAX_CHARACTERS = 64

/**
 * The ids of calls as they go to a provider: of characters that all accept, and unique in the whole conversation. In a
 * conversation of ours, an id is unique only within its message.
 */
export class CallIdMap {
  readonly #used = new Set<string>()
  readonly #latest = new Map<string, string>()

  /** The id to send for a call. */
  called(call: string): string {
    const usual = call.replaceAll(INVALID, '_').slice(0, MAX_CHARACTERS) || 'call'
    let id = usual
    for (let n = 2; this.#used.has(id); n++) id = `${usual.slice(0, MAX_CHARACTERS - 8)}_${n}`
    this.#used.add(id)
    this.#latest.set(call, id)
    return id
  }

  /** The id that was sent for the latest call with this id. */
  answered(call: string): string {
    return this.#latest.get(call) ?? call
  }
}
