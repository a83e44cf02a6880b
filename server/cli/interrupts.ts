import { isatty } from 'node:tty'

/** Time in which a second signal is ignored under npm: npm forwards a Ctrl-C that the terminal has sent already. */
const NPM_ECHO_MS = 500

/** SIGHUP: the terminal was closed. */
export type Interrupt = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

/** The part of the process from which signals come. */
export type InterruptSource = {
  readonly env: { readonly [name: string]: string | undefined }
  on(signal: Interrupt, listener: () => void): unknown
  off(signal: Interrupt, listener: () => void): unknown
}

/**
 * Calls `pressed` for each Ctrl-C or SIGTERM, with their number so far. A terminal that is closed counts as the first of
 * them, and never as a further one: the system and the shell may both say so. These signals do not end the process until
 * the returned function is called.
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
  const isInTerminal = [0, 1, 2].some((fd) => isatty(fd))
  const hungUp = (): void => {
    if (isInTerminal) process.once('exit', endByHangUp)
    if (times === 0) listener()
  }
  source.on('SIGINT', listener)
  source.on('SIGTERM', listener)
  source.on('SIGHUP', hungUp)
  return () => {
    source.off('SIGINT', listener)
    source.off('SIGTERM', listener)
    source.off('SIGHUP', hungUp)
  }
}

/** When it ends, Node sets the terminal back, and aborts where that is gone. So the signal itself ends the process. */
function endByHangUp(): void {
  process.removeAllListeners('SIGHUP')
  process.kill(process.pid, 'SIGHUP')
}
