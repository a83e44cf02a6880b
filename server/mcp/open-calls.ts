/** The calls that go on, so that a request of its own can stop one: clients of the older protocol send their cancel so. */
export class OpenCalls {
  readonly #open = new Map<string, Set<OpenCall>>()

  /**
   * A call begins.
   * @param session whose call it is. Ids of requests are unique within one.
   * @param signal aborts when the call is to stop for another reason.
   */
  begin(session: string, id: string | number, signal: AbortSignal): { readonly signal: AbortSignal; over(): void } {
    const controller = new AbortController()
    const call: OpenCall = { id, stop: () => controller.abort() }
    const calls = this.#open.get(session) ?? new Set()
    this.#open.set(session, calls.add(call))
    return {
      signal: AbortSignal.any([signal, controller.signal]),
      over: () => {
        if (calls.delete(call) && calls.size === 0) this.#open.delete(session)
      },
    }
  }

  /** Stops a call of a session, or with no `id` all of them. One that is over stays as it is. */
  stop(session: string, id?: unknown): void {
    for (const call of this.#open.get(session) ?? []) if (id === undefined || call.id === id) call.stop()
  }
}

type OpenCall = { readonly id: string | number; stop(): void }
