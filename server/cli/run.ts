import { text as readAll } from 'node:stream/consumers'
import { MillraceError } from '../../protocol/errors.ts'
import { approvalMode } from './approvals.ts'
import { type ExitCode, Failure, messageOf, refusal } from './exit.ts'
import { follow } from './follow.ts'
import type { Output } from './output.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'run',
  about: 'Starts a run and prints its answer. Ctrl-C cancels the run and prints the receipt.',
  notes: ['The input is read as JSON, or as text if it is not JSON. With - it comes from stdin.'],
  args: ['<actor>', '[input]'],
  options: {
    stream: {
      type: 'boolean',
      about: 'Prints the answer as it arrives. Without it, the answer is printed at the end.',
    },
    yes: { type: 'boolean', about: 'Approves every tool call that needs approval.' },
    ...remoteOptions,
  },
  examples: [
    `millrace run chat 'Tell me about millrace' --stream`,
    `millrace run count '{"to":10,"delayMs":100}' --stream`,
    `millrace run assistant 'How is the weather in Oslo, Rome and Lima?' --stream`,
    'git diff | millrace run chat - --stream',
  ],
} as const

/** Maximum length of a value that an error repeats, in UTF-16 units. */
const MAX_QUOTED = 40

/** `millrace run` */
export const run: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [actor = '', given] = positionals
    const text = given === '-' ? await readStdin() : given
    const input = text === undefined ? undefined : inputOf(text)
    await using remote = new Remote(values, output)
    try {
      const started = remote.client.start(actor, input)
      return await follow(started, remote, output, {
        stream: values.stream ?? false,
        interrupt: 'cancel',
        approvals: approvalMode(values.yes ?? false, 'refuse'),
      })
    } catch (error) {
      const failure = refusal(error)
      const hint = MillraceError.is(failure.cause, 'invalid_input') ? readAs(text) : undefined
      if (hint === undefined) throw failure
      throw new Failure(failure.exitCode, `${failure.message} (${hint})`, error)
    }
  },
}

/** The parsed JSON, or the text itself if it is not JSON. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** A hint for an invalid input: how it was read. Undefined if the error itself names the wrong field. */
function readAs(text: string | undefined): string | undefined {
  if (text === undefined) return 'no input was given'
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return undefined
    return `it was read as JSON; write an object as '{"name":${text.length <= MAX_QUOTED ? text : '...'}}'`
  } catch (error) {
    if (/^\s*[{["]/.test(text)) return `it was read as text, because it is not JSON: ${messageOf(error)}`
    return `it was read as text; write an object as '{"name":"value"}'`
  }
}

async function readStdin(): Promise<string> {
  const text = await readAll(process.stdin)
  return text.replace(/\r?\n$/, '')
}
