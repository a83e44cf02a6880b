/** Microseconds of the machine's monotonic clock, which all processes of one machine share. */
export function machineUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}

/** Lets time pass. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

/** Looks every 20 ms until `holds` does. Gives up after `ms` with an error that says what was waited for. */
export async function until(holds: () => boolean, ms: number, what: string): Promise<void> {
  const deadline = performance.now() + ms
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${ms} ms`)
    await pass(20)
  }
}
