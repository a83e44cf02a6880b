import type { ExitCode } from './exit.ts'
import { textOf, valueOf } from './input-text.ts'
import type { Output } from './output.ts'
import { remoteOptions } from './remote.ts'
import { sendInput } from './send-input.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'answer',
  about: 'Answers a request of a run, such as a question or a request for approval.',
  notes: [
    'The answer is read as JSON, or as text if it is not JSON. With - it comes from stdin.',
    'A run prints its requests with their ids. A request for approval takes true or false.',
  ],
  args: ['<run>', '<request>', '<answer>'],
  options: remoteOptions,
  examples: [
    'millrace answer r_mhEi2vDbnMOVWWYUk6OBXw q1 true',
    `millrace answer r_mhEi2vDbnMOVWWYUk6OBXw q2 '{"city":"Oslo"}'`,
  ],
} as const

/** `millrace answer` */
export const answer: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = '', request = '', given = ''] = positionals
    const value = valueOf(await textOf(given))
    return await sendInput(id, 'answer', { request, value }, values, output)
  },
}
