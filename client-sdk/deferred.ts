/** A promise with the functions that settle it. */
export type Deferred<T> = {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: Error) => void
}

/** A promise to settle later. Its rejection may stay unhandled: it ends no process. */
export function deferred<T>(): Deferred<T> {
  let settle!: Omit<Deferred<T>, 'promise'>
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise: quiet(promise), ...settle }
}

/** The same promise. Its rejection may stay unhandled. */
export function quiet<Waited extends Promise<unknown>>(promise: Waited): Waited {
  promise.catch(() => {})
  return promise
}
