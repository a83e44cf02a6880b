import type { Run } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { InspectorState, type InspectorUpdate } from '../../protocol/inspector.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { unreadExit } from './follow.ts'
import { onInterrupt } from './interrupts.ts'
import type { Output } from './output.ts'
import { Remote, remoteOptions } from './remote.ts'
import { JsonList, LiveList, type RunList, WholeList } from './run-lists.ts'
import { type Command, readArgs } from './usage.ts'

/** The name of the inspector among the actors of a server. */
const INSPECTOR = 'inspector'

const usage = {
  name: 'ls',
  about: 'Lists the runs of the server, live on a terminal. Ctrl-C quits.',
  notes: [
    'LAG and CREDIT are those of the slowest reader that the run waits for, or else of the slowest reader.',
    'With --json, a pipe whose reader has ended is noticed when the list changes next.',
  ],
  args: [],
  options: {
    once: { type: 'boolean', about: 'Prints the list once. This is the default if stdout is not a terminal.' },
    json: {
      type: 'boolean',
      about: 'Prints one line of JSON for each run or session that is added, changed or removed.',
    },
    all: {
      type: 'boolean',
      about: 'Lists also the runs of the other servers that share a Redis, at most 1,000 of them and 1,000 children.',
    },
    actor: { type: 'string', value: 'NAME', about: 'Lists only runs of this actor.' },
    ...remoteOptions,
  },
  examples: ['millrace ls', 'millrace ls --all', 'millrace ls --once --actor chat', 'millrace ls --json | jq -c .'],
} as const

/** `millrace ls` */
export const ls: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values } = readArgs(usage, args)
    const { json = false, all = false, actor } = values
    const once = values.once ?? (!json && output.screen === undefined)
    await using remote = new Remote(values, output)
    const isLive = (): boolean => remote.client.status === 'open'
    const list = json
      ? new JsonList(output, actor)
      : once
        ? new WholeList(output, actor)
        : new LiveList(output, actor, isLive)
    try {
      return await watch(remote, output, list, { once, ...(all && { all }) })
    } finally {
      list.close()
    }
  },
}

/** What is asked of the inspector. A server of an earlier release does not know `all`. */
type Asked = { readonly once: boolean; readonly all?: boolean }

/** Shows the updates of an inspector until the list is complete, Ctrl-C is pressed, or the connection is lost. */
export async function watch(remote: Remote, output: Output, list: RunList, asked: Asked): Promise<ExitCode> {
  let left: 'interrupted' | 'unread' | 'lost' | undefined
  let run: Run | undefined
  const leave = (why: typeof left): void => {
    left ??= why
    if (why === 'lost') run?.detach()
    else void run?.cancel()
  }
  const unread = (): void => leave('unread')
  const lost = (): void => leave('lost')
  const forgetInterrupts = onInterrupt((times) => {
    list.close()
    if (times > 1) process.exit(EXIT.interrupted)
    leave('interrupted')
  })
  output.gone.addEventListener('abort', unread)
  remote.givenUp.addEventListener('abort', lost)
  try {
    for (let isOver = false; !isOver && !left; ) {
      const started = remote.client.start(INSPECTOR, asked, { onDetach: 'cancel' })
      run = started
      isOver = await read(started, remote, list, asked.once)
    }
  } catch (error) {
    if (!left) throw watchFailure(error)
  } finally {
    output.gone.removeEventListener('abort', unread)
    remote.givenUp.removeEventListener('abort', lost)
    forgetInterrupts()
  }
  switch (left) {
    case undefined:
      return EXIT.ok
    case 'lost':
      throw new Failure(EXIT.unreachable, 'the server did not come back')
    case 'unread':
      return unreadExit(output)
    case 'interrupted':
      return EXIT.interrupted
  }
}

/** Reads one run of the inspector. Resolves with false if another run must follow it, with a new list. */
async function read(run: Run, remote: Remote, list: RunList, once: boolean): Promise<boolean> {
  const { id } = await remote.opened(run).catch(refused)
  const state = new InspectorState()
  list.begin(state, id)
  try {
    for await (const event of run) {
      // The missing updates do not come again: a new run sends the whole list.
      if (event.type === 'gap') return false
      if (event.type !== 'data' || event.name !== 'inspector') throw noInspector()
      await list.show(state.take(event.value as InspectorUpdate))
    }
    if (state.scope === undefined) throw noInspector()
    // Without `once`, the inspector ends by itself only when its server shuts down.
    if (!once) throw new Failure(EXIT.unreachable, 'the server has shut down')
    return true
  } catch (error) {
    // The inspector has the time limit of every run, and is unknown to a server that has begun anew: start another one.
    if (MillraceError.is(error, 'timeout') || (MillraceError.is(error, 'not_found') && remote.cameBack)) return false
    throw error
  }
}

/** The server does not start it. */
function refused(thrown: unknown): never {
  throw MillraceError.is(thrown, 'not_found') ? noInspector(thrown) : thrown
}

function watchFailure(thrown: unknown): unknown {
  if (MillraceError.is(thrown, 'interrupted')) return new Failure(EXIT.unreachable, 'the server has shut down', thrown)
  return thrown
}

function noInspector(cause?: unknown): Failure {
  return new Failure(
    EXIT.usage,
    `this server has no inspector: register one with createServer({ actors: { ${INSPECTOR}: inspector() } }), from millrace/server`,
    cause,
  )
}
