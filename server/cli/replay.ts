import { openRecording } from '../recordings/recording.ts'
import { replay as replayActor } from '../recordings/replay.ts'
import { createServer } from '../server.ts'
import { anonymous } from '../sessions/auth.ts'
import { memory } from '../transports/memory.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { follow } from './follow.ts'
import type { Output } from './output.ts'
import { recordingWords } from './recording-words.ts'
import { Remote } from './remote.ts'
import { terminalLogger } from './terminal-logger.ts'
import { type Command, readArgs, readNumber } from './usage.ts'

/** The option of every command that replays. */
export const speedOption = {
  speed: {
    type: 'string',
    value: 'N',
    about: 'How many times as fast as it was recorded: 0.01 to 1000, or max. Default 1.',
  },
} as const

const usage = {
  name: 'replay',
  about: 'Shows a recorded run as it went. Ctrl-C cancels the replay and prints its receipt.',
  args: ['<file>'],
  options: {
    ...speedOption,
    from: { type: 'string', value: 'N', about: 'First item to show; those before it are passed over. Default 1.' },
  },
  examples: ['millrace replay answer.millrace', 'millrace replay answer.millrace --speed 4 --from 100'],
} as const

/** `millrace replay` */
export const replay: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [file = ''] = positionals
    const speed = readSpeed(values.speed)
    const from = readNumber('--from', values.from ?? '1', { min: 1, max: Number.MAX_SAFE_INTEGER })
    const recording = await openRecording(file)
    const { actor } = recording.facts
    const transport = memory()
    await using server = createServer({
      actors: { [actor]: replayActor(recording, { speed, from }) },
      authenticate: anonymous(),
      transport,
      logger: terminalLogger(output, { errors: true, verbose: false }),
    })
    await server.listen()
    output.note(recordingWords(recording))
    await using remote = new Remote({ url: transport.url }, output, transport.WebSocket)
    const run = remote.client.start(actor, null)
    return await follow(run, remote, output, { stream: true, interrupt: 'cancel', approvals: 'skip', from })
  },
}

/** Parses `--speed`. @throws Failure that names the allowed range. */
export function readSpeed(text = '1'): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const speed = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (speed >= 0.01 && speed <= 1_000) return speed
  throw new Failure(EXIT.usage, `--speed takes a number from 0.01 to 1000, or max, not ${text}`)
}
