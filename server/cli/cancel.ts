import type { CancelResult, TargetCancelResult } from '../../client-sdk/node.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { receiptOf } from './late-receipt.ts'
import type { Output } from './output.ts'
import { cancelWords, targetCancelWords } from './receipt-words.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'cancel',
  about: 'Cancels a run or one of its tool calls, and prints the receipt.',
  args: ['<run>'],
  options: {
    call: { type: 'string', value: 'ID', about: 'Cancels only this tool call; the run goes on.' },
    note: { type: 'string', value: 'TEXT', about: 'Reason, for the receipt.', mayBeEmpty: true },
    ...remoteOptions,
  },
  examples: ['millrace cancel r_mhEi2vDbnMOVWWYUk6OBXw', 'millrace cancel r_mhEi2vDbnMOVWWYUk6OBXw --call call_2'],
} as const

/** `millrace cancel` */
export const cancel: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = ''] = positionals
    await using remote = new Remote(values, output)
    const { call } = values
    // The end of a run needs no credit, but the result of a tool call does.
    const view = remote.client.attach('', id, { after: 'live', ...(call === undefined && { credit: 0 }) })
    await remote.opened(view)
    output.busy('cancelling')
    const why = values.note === undefined ? {} : { note: values.note }
    const cancelling: Promise<TargetCancelResult> =
      call === undefined ? view.cancel(why) : view.cancel({ call, ...why })
    const result = await receiptOf(cancelling, remote, output)
    const lines = call === undefined ? cancelWords(result as CancelResult) : [targetCancelWords(call, result)]
    if (!result.confirmed) {
      const isUnknown = call !== undefined && result.code === 'not_found'
      throw new Failure(isUnknown ? EXIT.failed : EXIT.unreachable, lines.join('; '))
    }
    await output.answer(`${lines.join('\n')}\n`)
    return EXIT.ok
  },
}
