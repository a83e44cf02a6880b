import { POLICIES, type Policy } from '../../protocol/frames.ts'
import { approvalMode } from './approvals.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { follow } from './follow.ts'
import type { Output } from './output.ts'
import { Remote, remoteOptions } from './remote.ts'
import { type Command, readArgs, readNumber } from './usage.ts'

const usage = {
  name: 'attach',
  about: 'Shows an existing run, from its beginning. Ctrl-C detaches; the run goes on.',
  args: ['<run>'],
  options: {
    after: { type: 'string', value: 'N', about: 'Starts after item number N.' },
    live: { type: 'boolean', about: 'Starts with the next item.' },
    policy: {
      type: 'string',
      value: 'POLICY',
      about:
        'How to read: log (default), merge (joined text), latest (newest item only), pace (the run waits for you).',
    },
    ...remoteOptions,
  },
  examples: ['millrace attach r_mhEi2vDbnMOVWWYUk6OBXw --after 36'],
} as const

/** `millrace attach` */
export const attach: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [id = ''] = positionals
    const { after, live, policy } = values
    if (after !== undefined && live) throw new Failure(EXIT.usage, 'use either --after or --live, not both')
    if (policy !== undefined && !isPolicy(policy))
      throw new Failure(EXIT.usage, `unknown policy ${policy}; known policies: ${POLICIES.join(', ')}`)
    const from =
      after === undefined
        ? live
          ? 'live'
          : 'start'
        : readNumber('--after', after, { min: 0, max: Number.MAX_SAFE_INTEGER })
    await using remote = new Remote(values, output)
    const view = remote.client.attach('', id, { after: from, policy: policy ?? 'log' })
    return await follow(view, remote, output, {
      stream: true,
      interrupt: 'detach',
      approvals: approvalMode(false, 'skip'),
      policy,
    })
  },
}

function isPolicy(name: string): name is Policy {
  return (POLICIES as readonly string[]).includes(name)
}
