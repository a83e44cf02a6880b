/**
 * Yields the events of some types: `for await (const event of only(run, 'token', 'tool.call'))`. It reads the others
 * too, so that they do not hold the run back. It ends as its source does. Leaving its loop leaves the source: a run
 * that was started here is cancelled.
 *
 * @param events A run, or any events that have a `type`.
 * @param types The types to yield, at least one.
 */
export function only<Event extends { readonly type: string }, Type extends Event['type']>(
  events: AsyncIterable<Event, unknown>,
  ...types: readonly [Type, ...Type[]]
): AsyncIterableIterator<Extract<Event, { readonly type: Type }>, undefined> {
  type Wanted = Extract<Event, { readonly type: Type }>
  const wanted: readonly string[] = types
  const source = events[Symbol.asyncIterator]()
  return {
    async next() {
      for (;;) {
        const { value, done } = await source.next()
        if (done) return { value: undefined, done }
        if (wanted.includes(value.type)) return { value: value as Wanted, done: false }
      }
    },
    // A generator would call this only after the event that it waits for has come.
    async return() {
      await source.return?.()
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
