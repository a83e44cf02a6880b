import { openRecording } from '../recordings/recording.ts'
import { replay as replayActor } from '../recordings/replay.ts'
import { createServer } from '../server.ts'
import { anonymous } from '../sessions/auth.ts'
import { memory } from '../transports/memory.ts'
import type { ExitCode } from './exit.ts'
import { follow } from './follow.ts'
import type { Output } from './output.ts'
import { recordingWords } from './recording-words.ts'
import { Remote } from './remote.ts'
import { readSpeed, speedOption } from './speed-option.ts'
import { terminalLogger } from './terminal-logger.ts'
import { type Command, readArgs, readNumber } from './usage.ts'

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
    return await follow(run, remote, output, {
      stream: true,
      interrupt: 'cancel',
      approvals: 'skip',
      from,
      isOwn: true,
    })
  },
}
