import { type ListedRun, NodeWebSocket, type Run, type WebSocketClass } from '../../client-sdk/node.ts'
import { decodeDown } from '../../protocol/decode.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { DownFrame } from '../../protocol/frames.ts'
import type { RecordingFacts } from '../recordings/recording-format.ts'
import { RecordingWriter } from '../recordings/recording-writer.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import type { Output } from './output.ts'
import { recordStored } from './record-stored.ts'
import { fullWords, recordedWords } from './recording-words.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'record',
  about: 'Records a run of yours, from its first item that is kept to its end. Ctrl-C ends the recording.',
  notes: [
    'The file can be replayed with millrace replay, and served with millrace serve --replay.',
    'It has what the run said, and is readable for you only. From --data, it also has the input.',
  ],
  args: ['<run>'],
  options: {
    output: { type: 'string', value: 'FILE', short: 'o', about: 'File to make. Default: RUN.millrace.' },
    'redact-input': {
      type: 'boolean',
      about: 'Leaves out what clients sent: input, meta, results of their tools, arguments that they changed.',
    },
    data: {
      type: 'string',
      value: 'DIR',
      about: 'Records from the folder of a server that does not run. Default: from a running server.',
    },
    ...remoteOptions,
  },
  examples: [
    'millrace record r_mhEi2vDbnMOVWWYUk6OBXw -o answer.millrace',
    'millrace record r_mhEi2vDbnMOVWWYUk6OBXw --data ./data --redact-input',
  ],
} as const

/** `millrace record` */
export const record: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = ''] = positionals
    const file = values.output ?? `${id.replaceAll(/[^\w-]/g, '_')}.millrace`
    const redacted = values['redact-input'] ?? false
    if (values.data !== undefined) return await recordStored(id, values.data, file, redacted, output)
    const frames = new RunFrames(id)
    await using remote = new Remote(values, output, frames.WebSocket)
    return await recorded(remote.client.attach('', id), remote, frames, output, { id, file, redacted })
  },
}

function factsOf(run: ListedRun | undefined, redacted: boolean): RecordingFacts {
  const { actor = 'recording', startedAt, meta } = run ?? {}
  return {
    actor,
    recordedAt: Date.now(),
    ...(startedAt !== undefined && { startedAt }),
    ...(meta && { meta }),
    ...(redacted && { redacted }),
  }
}

/** What the list of this principal has of a run. Undefined: it is that of another one, or the server has no list. */
async function listed(remote: Remote, id: string): Promise<ListedRun | undefined> {
  try {
    return (await remote.client.runs()).find((one) => one.id === id)
  } catch {
    return undefined
  }
}

/** Records a run to its end, or until Ctrl-C, or until the server does not come back. */
async function recorded(
  run: Run,
  remote: Remote,
  frames: RunFrames,
  output: Output,
  { id, file, redacted }: { readonly id: string; readonly file: string; readonly redacted: boolean },
): Promise<ExitCode> {
  let left: 'interrupted' | 'lost' | 'full' | undefined
  const leave = (why: typeof left): void => {
    left ??= why
    run.detach()
  }
  const lost = (): void => leave('lost')
  const forgetInterrupts = onInterrupt(() => leave('interrupted'))
  remote.givenUp.addEventListener('abort', lost)
  let writer: RecordingWriter | undefined
  try {
    await remote.opened(run)
    writer = await RecordingWriter.create(file, factsOf(await listed(remote, id), redacted))
    frames.to(writer)
    for await (const _ of run) {
      frames.check()
      // A slow disk slows the reading, and the server keeps what is not read.
      await writer.written()
      if (writer.isFull) leave('full')
      output.busy(`${writer.items} items`)
    }
    frames.check()
  } catch (error) {
    // The end of a run that failed or was cancelled is an end like any other.
    if (writer?.outcome === undefined && !left) throw error
  } finally {
    remote.givenUp.removeEventListener('abort', lost)
    forgetInterrupts()
    output.quiet()
    await writer?.close()
  }
  if (writer) await output.answer(`${recordedWords(file, writer)}\n`)
  if (left === 'lost')
    throw new Failure(
      EXIT.unreachable,
      `the server did not come back; the recording ends there. The run may go on: ${remote.command('attach', id)}`,
    )
  if (writer?.isFull) throw new Failure(EXIT.failed, `${fullWords(writer)}. The run is not stopped`)
  return left === 'interrupted' ? EXIT.interrupted : EXIT.ok
}

/** The frames of one run, as they come in on any of the client's connections. */
class RunFrames {
  /** The WebSocket class of the client. */
  readonly WebSocket: WebSocketClass
  #writer: RecordingWriter | undefined
  /** Those that came before there was a file. Credit limits them. */
  #early: DownFrame[] = []
  #failure: MillraceError | undefined

  constructor(run: string) {
    const take = (frame: DownFrame): void => this.#take(frame)
    this.WebSocket = class extends NodeWebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol)
        /** The stream of the run on this connection. */
        let sid = 0
        this.on('message', (data: Buffer, isBinary: boolean) => {
          for (const frame of isBinary ? framesIn(data) : []) {
            if (frame.kind === 'opened' && frame.run === run) sid = frame.sid
            if ('sid' in frame && frame.sid === sid) take(frame)
          }
        })
      }
    }
  }

  /** Hands on what has come and what comes. */
  to(writer: RecordingWriter): void {
    this.#writer = writer
    for (const frame of this.#early.splice(0)) this.#take(frame)
  }

  /** @throws what could not be recorded. */
  check(): void {
    if (this.#failure) throw this.#failure
  }

  #take(frame: DownFrame): void {
    if (!this.#writer) return void this.#early.push(frame)
    try {
      this.#writer.take(frame)
    } catch (error) {
      this.#failure ??= MillraceError.from(error)
    }
  }
}

/** What the client cannot read either, it reports itself. */
function framesIn(message: Uint8Array): DownFrame[] {
  try {
    return decodeDown(message, { maxBytes: Infinity, maxDepth: 100, maxValues: Infinity })
  } catch {
    return []
  }
}
