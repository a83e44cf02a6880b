/** The part of the process that keys come from. */
export type KeySource = {
  readonly isTTY?: boolean
  setRawMode?(isRaw: boolean): unknown
  setEncoding(encoding: 'utf8'): unknown
  on(event: 'data', listener: (text: string) => void): unknown
  off(event: 'data', listener: (text: string) => void): unknown
  resume(): unknown
  pause(): unknown
}

/** A key: a letter as it is, or the name of another one. */
export type Key = 'up' | 'down' | (string & {})

const NAMES: { readonly [code: string]: Key } = {
  '\u001b[A': 'up',
  '\u001bOA': 'up',
  '\u001b[B': 'down',
  '\u001bOB': 'down',
}
const CTRL_C = '\u0003'

/**
 * Calls `pressed` for each key, without waiting for a line. Ctrl-C is the signal that it is elsewhere.
 * @returns the function that gives the terminal back as it was. Undefined: stdin is no terminal.
 */
export function onKeys(pressed: (key: Key) => void, source: KeySource = process.stdin): (() => void) | undefined {
  if (source.isTTY !== true || !source.setRawMode) return undefined
  const heard = (text: string): void => {
    // Keys that are pressed fast come together.
    for (const key of text.match(/\u001b[[O][A-Z]|[^]/gu) ?? []) {
      if (key === CTRL_C) process.kill(process.pid, 'SIGINT')
      else pressed(NAMES[key] ?? key)
    }
  }
  const restore = (): void => {
    source.setRawMode?.(false)
  }
  source.setRawMode(true)
  source.setEncoding('utf8')
  source.on('data', heard)
  source.resume()
  // Also if the process ends in another way.
  process.once('exit', restore)
  return () => {
    process.off('exit', restore)
    source.off('data', heard)
    restore()
    source.pause()
  }
}
