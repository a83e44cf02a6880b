import type { ExitCode } from './exit.ts'
import { textOf, valueOf } from './input-text.ts'
import type { Output } from './output.ts'
import { remoteOptions } from './remote.ts'
import { sendInput } from './send-input.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'send',
  about: 'Sends a message to a run that takes messages, such as a chat that goes on.',
  notes: ['With - the text comes from stdin. With --type, the text is read as JSON if it is JSON.'],
  args: ['<run>', '<text>'],
  options: {
    type: { type: 'string', value: 'TYPE', about: 'Sends an input of another type. Default: message.' },
    ...remoteOptions,
  },
  examples: [
    `millrace send r_mhEi2vDbnMOVWWYUk6OBXw 'Shorter, please'`,
    `millrace send r_mhEi2vDbnMOVWWYUk6OBXw '{"zoom":3}' --type view`,
  ],
} as const

/** `millrace send` */
export const send: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = '', given = ''] = positionals
    const text = await textOf(given)
    const { type } = values
    return await sendInput(id, type ?? 'message', type === undefined ? text : valueOf(text), values, output)
  },
}
