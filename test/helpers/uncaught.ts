/** The errors that nothing caught, which would otherwise end a process. */
export interface UncaughtErrors extends Disposable {
  readonly errors: unknown[]
}

/** Collects them until it is disposed of. Whoever else listens for them hears nothing meanwhile. */
export function uncaughtErrors(): UncaughtErrors {
  const others = process.listeners('uncaughtException')
  const errors: unknown[] = []
  const collect = (error: unknown): void => void errors.push(error)
  process.removeAllListeners('uncaughtException').on('uncaughtException', collect)
  return {
    errors,
    [Symbol.dispose]() {
      process.off('uncaughtException', collect)
      for (const other of others) process.on('uncaughtException', other)
    },
  }
}
