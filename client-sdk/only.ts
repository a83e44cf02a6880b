/**
 * The events of some types, and nothing else: `for await (const event of only(run, 'token', 'tool.call'))`. The others
 * are read and let go of, so they hold nobody back. It ends as its source does, and leaving its loop leaves the source:
 * a run that was started here is cancelled.
 *
 * @param events A run, or any events that have a `type`.
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
    // A generator would pass it on only once the event that it waits for has come.
    async return() {
      await source.return?.()
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
