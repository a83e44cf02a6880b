/** A promise and the two ways to settle it. */
export type Deferred<T> = {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(reason: Error): void
}

/** A promise to settle later. Nobody has to catch it: one that rejects unread does not end a process. */
export function deferred<T>(): Deferred<T> {
  let settle!: Pick<Deferred<T>, 'resolve' | 'reject'>
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise: quiet(promise), ...settle }
}

/** The same promise, whose rejection is no longer unhandled when nobody looks at it. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
