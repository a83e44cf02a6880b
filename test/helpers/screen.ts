import type { Sink } from '../../server/cli/output.ts'
import { Output } from '../../server/cli/output.ts'

/** A stream of a process that remembers what was written. */
export class FakeSink implements Sink {
  text = ''
  readonly isTTY: boolean

  constructor(isTTY: boolean) {
    this.isTTY = isTTY
  }

  write(text: string, written?: () => void): boolean {
    this.text += text
    written?.()
    return true
  }

  on(): void {}
  once(): void {}
  off(): void {}
}

/** An `Output` whose two streams can be read. */
export function screen({ stdout = false, stderr = false, env = {} }: ScreenOptions = {}): {
  output: Output
  stdout: FakeSink
  stderr: FakeSink
} {
  const sinks = { stdout: new FakeSink(stdout), stderr: new FakeSink(stderr) }
  return { output: new Output(sinks.stdout, sinks.stderr, env), ...sinks }
}

/** Whether each stream is a terminal. */
type ScreenOptions = { stdout?: boolean; stderr?: boolean; env?: Record<string, string> }
