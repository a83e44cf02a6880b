import type { Run } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { approvalMode } from './approvals.ts'
import { type ExitCode, Failure, messageOf, refusal } from './exit.ts'
import { follow } from './follow.ts'
import { textOf, valueOf } from './input-text.ts'
import type { Output } from './output.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'run',
  about: 'Starts a run and prints its answer. Ctrl-C cancels the run and prints the receipt.',
  notes: [
    'The input is read as JSON if it is JSON and the actor accepts it, and else as text. With - it comes from stdin.',
  ],
  args: ['<actor>', '[input]'],
  options: {
    stream: {
      type: 'boolean',
      about: 'Prints the answer as it arrives. Without it, the answer is printed at the end.',
    },
    text: { type: 'boolean', about: 'Reads the input as text, also if it is JSON.' },
    yes: { type: 'boolean', about: 'Approves every tool call that needs approval.' },
    ...remoteOptions,
  },
  examples: [
    `millrace run chat 'Tell me about millrace' --stream`,
    `millrace run count '{"to":10,"delayMs":100}' --stream`,
    `millrace run assistant 'How is the weather in Oslo, Rome and Lima?' --stream`,
    'millrace run chat - --stream < package.json',
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
    const text = given === undefined ? undefined : await textOf(given)
    const isText = values.text ?? false
    await using remote = new Remote(values, output)
    const followed = (started: Run): Promise<ExitCode> =>
      follow(started, remote, output, {
        stream: values.stream ?? false,
        interrupt: 'cancel',
        approvals: approvalMode(values.yes ?? false, 'refuse'),
      })
    const input = text === undefined || isText ? text : valueOf(text)
    const first = remote.client.start(actor, input)
    try {
      return await followed(first)
    } catch (error) {
      const refused = invalidInput(error)
      if (!refused) throw error
      // Valid JSON may have been meant as text. A refused run never began, so a second one does no harm.
      if (text !== undefined && input !== text && first.id === undefined)
        return await followed(remote.client.start(actor, text)).catch((second: unknown) => {
          throw invalidInput(second) ? withHint(refused, text, isText) : second
        })
      throw withHint(refused, text, isText)
    }
  },
}

/** The refusal of an invalid input, if that is what was thrown. */
function invalidInput(thrown: unknown): Failure | undefined {
  const failure = refusal(thrown)
  return MillraceError.is(failure.cause, 'invalid_input') ? failure : undefined
}

function withHint(failure: Failure, text: string | undefined, isText: boolean): Failure {
  const hint = readAs(text, isText)
  if (hint === undefined) return failure
  return new Failure(failure.exitCode, `${failure.message} (${hint})`, failure.cause)
}

/** A hint for an invalid input: how it was read. Undefined if the error itself names the wrong field. */
function readAs(text: string | undefined, isText: boolean): string | undefined {
  if (text === undefined) return 'no input was given'
  if (isText) return 'it was read as text; leave --text out to send JSON'
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return undefined
    return `it was read as JSON; write an object as '{"name":${text.length <= MAX_QUOTED ? text : '...'}}'`
  } catch (error) {
    if (/^\s*[{["]/.test(text)) return `it was read as text, because it is not JSON: ${messageOf(error)}`
    return `it was read as text; write an object as '{"name":"value"}'`
  }
}
