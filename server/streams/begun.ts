/**
 * Asks for the first item at once, and not only when a loop begins. Leave it with `return` where no loop may come to it.
 */
export function begun<Item, Result>(
  items: AsyncIterable<Item, Result>,
): Required<Omit<AsyncIterableIterator<Item, Result | undefined>, 'throw'>> {
  const iterator = items[Symbol.asyncIterator]()
  let first: Promise<IteratorResult<Item, Result>> | undefined = iterator.next()
  // Its reader may be gone before it asks.
  first.catch(() => {})
  const rest = {
    next() {
      const step = first ?? iterator.next()
      first = undefined
      return step
    },
    async return() {
      await iterator.return?.()
      return { done: true as const, value: undefined }
    },
    [Symbol.asyncIterator]: () => rest,
  }
  return rest
}
