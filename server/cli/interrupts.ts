/** npm sends a Ctrl-C on to the command that it runs, which the terminal has told already: one press arrives twice. */
const NPM_ECHO_MS = 500

/** Where signals come from: the process, as far as it matters here. */
export type InterruptSource = {
  readonly env: { readonly [name: string]: string | undefined }
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

/**
 * Calls `pressed` for each Ctrl-C or SIGTERM, with how many there were. Until the returned function is called they do
 * not end the process.
 */
export function onInterrupt(pressed: (times: number) => void, source: InterruptSource = process): () => void {
  const echoMs = source.env['npm_lifecycle_event'] === undefined ? 0 : NPM_ECHO_MS
  let times = 0
  let lastAt = Number.NEGATIVE_INFINITY
  const listener = (): void => {
    const now = performance.now()
    if (now - lastAt < echoMs) return
    lastAt = now
    pressed(++times)
  }
  source.on('SIGINT', listener)
  source.on('SIGTERM', listener)
  return () => {
    source.off('SIGINT', listener)
    source.off('SIGTERM', listener)
  }
}
