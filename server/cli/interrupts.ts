/** Time in which a second signal is ignored under npm: npm forwards a Ctrl-C that the terminal has sent already. */
const NPM_ECHO_MS = 500

/** The part of the process from which signals come. */
export type InterruptSource = {
  readonly env: { readonly [name: string]: string | undefined }
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
}

/**
 * Calls `pressed` for each Ctrl-C or SIGTERM, with their number so far. These signals do not end the process until the
 * returned function is called.
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
