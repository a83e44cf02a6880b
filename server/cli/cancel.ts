import { EXIT, type ExitCode, Failure } from './exit.ts'
import type { Output } from './output.ts'
import { cancelWords } from './receipt-words.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'cancel',
  about: 'Stops a run and says what was stopped.',
  args: ['<run>'],
  options: {
    note: { type: 'string', value: 'TEXT', about: 'Why, for the receipt.' },
    ...remoteOptions,
  },
  examples: ['millrace cancel r_mhEi2vDbnMOVWWYUk6OBXw'],
} as const

/** `millrace cancel` */
export const cancel: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = ''] = positionals
    await using remote = new Remote(values, output)
    const view = remote.client.attach('', id, { after: 'live', credit: 0 })
    await remote.opened(view)
    output.busy('stopping')
    const result = await view.cancel(values.note === undefined ? {} : { note: values.note })
    const lines = cancelWords(result)
    if (!result.confirmed) throw new Failure(EXIT.unreachable, lines.join('; '))
    await output.answer(`${lines.join('\n')}\n`)
    return EXIT.ok
  },
}
