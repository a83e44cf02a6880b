import { EXIT, type ExitCode } from './exit.ts'
import { onKeys } from './keys.ts'
import { watch } from './ls.ts'
import type { Output } from './output.ts'
import { Remote, remoteOptions } from './remote.ts'
import { LiveList, WholeList } from './run-lists.ts'
import { TopFrame } from './top-frame.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'top',
  about:
    'Shows the runs of the server live, with the text of one of them, and cancels, pauses or resumes it by a key. Into a pipe, it prints the list once.',
  notes: ['LAG and CREDIT are those of the slowest reader that the run waits for, or else of the slowest reader.'],
  args: [],
  options: {
    all: {
      type: 'boolean',
      about: 'Shows also the runs of the other servers that share a Redis, at most 1,000 of them and 1,000 children.',
    },
    actor: { type: 'string', value: 'NAME', about: 'Shows only runs of this actor.' },
    ...remoteOptions,
  },
  examples: ['millrace top', 'millrace top --all', 'millrace top --actor chat'],
} as const

/** `millrace top` */
export const top: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values } = readArgs(usage, args)
    const { all = false } = values
    await using remote = new Remote(values, output)
    if (output.screen === undefined)
      return await watch(remote, output, new WholeList(output, values.actor), { once: true, ...(all && { all }) })
    const frame = new TopFrame(remote.client, () => list.redraw())
    const list: LiveList = new LiveList(output, values.actor, () => remote.client.status === 'open', frame)
    let hasQuit = false
    const forgetKeys = onKeys((key) => {
      if (frame.press(key) || hasQuit) return
      hasQuit = true
      process.kill(process.pid, 'SIGINT')
    })
    const resized = (): void => list.redraw()
    process.stdout.on('resize', resized)
    try {
      const code = await watch(remote, output, list, { once: false, ...(all && { all }) })
      return hasQuit && code === EXIT.interrupted ? EXIT.ok : code
    } finally {
      process.stdout.off('resize', resized)
      forgetKeys?.()
      frame.close()
      list.close()
    }
  },
}
