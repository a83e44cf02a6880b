import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { readRun } from './reading.ts'
import type { ClientRun, RunClient } from './run-client.ts'

/** How long `attach_run` reads by default, and at most, in milliseconds. */
const WAIT_MS = 20_000
const MAX_WAIT_MS = 50_000

const run = z.string().min(1).describe('The id of the run, from start_run')

/** The input of each tool. */
const INPUTS = {
  start_run: z.object({
    actor: z.string().describe('The name of the actor'),
    input: z.unknown().describe('The input of the actor').optional(),
  }),
  attach_run: z.object({
    run,
    after: z.int().min(0).default(0).describe('The seq of the last answer: what came before it is left out'),
    waitMs: z.int().min(0).max(MAX_WAIT_MS).default(WAIT_MS).describe('How long to wait for its end, in milliseconds'),
  }),
  steer_run: z.object({
    run,
    message: z.string().optional().describe('A message to the actor'),
    request: z.string().optional().describe('The id of the request to answer, in place of a message'),
    answer: z.unknown().optional().describe('The answer to that request; true or false for an approval'),
  }),
  cancel_run: z.object({ run, note: z.string().max(80).optional().describe('Why, for the receipt') }),
} as const

type Name = keyof typeof INPUTS

const DESCRIPTIONS: { readonly [N in Name]: string } = {
  start_run: 'Starts an actor and returns the id of its run at once. The run goes on by itself.',
  attach_run: 'Reads what a run has said since an earlier answer, and waits for its end for a while.',
  steer_run: 'Sends a message to a run, or answers what it asks.',
  cancel_run: 'Stops a run. The receipt says what was stopped and what was not.',
}

/** The tools for runs, as MCP lists them. */
export const RUN_TOOLS: readonly { name: string; description: string; inputSchema: unknown }[] = (
  Object.keys(INPUTS) as Name[]
).map((name) => ({
  name,
  description: DESCRIPTIONS[name],
  inputSchema: z.toJSONSchema(INPUTS[name], { io: 'input' }),
}))

/**
 * Calls one of these tools.
 * @throws MillraceError `not_found` for another tool or an unknown run; `invalid_input` for wrong arguments.
 */
export async function callRunTool(
  client: RunClient,
  name: string,
  args: unknown,
  signal: AbortSignal,
): Promise<object> {
  switch (name) {
    case 'start_run': {
      const { actor, input } = read('start_run', args)
      const started = client.start(actor, input, { onDetach: 'continue' })
      const { id } = await untilAborted(started.opened, signal)
      // Nobody reads it now; its log keeps what it says.
      started.detach()
      return { run: id, status: 'running' }
    }
    case 'attach_run': {
      const { run, after, waitMs } = read('attach_run', args)
      const attached = client.attach('', run, { after, policy: 'log' })
      await untilAborted(attached.opened, signal)
      const { end, ...reading } = await readRun(attached, AbortSignal.any([signal, AbortSignal.timeout(waitMs)]))
      const status = end ? end.outcome : reading.waiting ? 'waiting' : 'running'
      const failure = end?.error && { error: { code: end.error.code, message: end.error.message } }
      const result = end?.result === undefined ? {} : { result: end.result }
      return { run, status, ...reading, seq: Math.max(after, reading.seq), ...result, ...failure }
    }
    case 'steer_run': {
      const { run, message, request, answer } = read('steer_run', args)
      if ((message === undefined) === (request === undefined))
        throw new MillraceError('invalid_input', 'steer_run needs either `message` or `request`')
      await withRun(client, run, signal, (view) =>
        request === undefined ? view.send('message', message) : view.send('answer', { request, value: answer }),
      )
      return { run, status: 'accepted' }
    }
    case 'cancel_run': {
      const { run, note } = read('cancel_run', args)
      const view = client.attach('', run, { after: 0, policy: 'log' })
      await untilAborted(view.opened, signal)
      return { run, ...(await view.cancel(note === undefined ? {} : { note })) }
    }
    default: {
      const known = [...Object.keys(INPUTS)].join(', ')
      throw new MillraceError('not_found', `unknown tool ${name}; tools for runs: ${known}; the others are the actors`)
    }
  }
}

/** Does something with a run, as one more of its clients. */
async function withRun<T>(
  client: RunClient,
  id: string,
  signal: AbortSignal,
  use: (run: ClientRun) => Promise<T>,
): Promise<T> {
  const view = client.attach('', id, { after: 0, policy: 'log' })
  try {
    await untilAborted(view.opened, signal)
    return await use(view)
  } finally {
    view.detach()
  }
}

function read<N extends Name>(name: N, args: unknown): z.output<(typeof INPUTS)[N]> {
  const { success, data, error } = INPUTS[name].safeParse(args)
  if (success) return data as z.output<(typeof INPUTS)[N]>
  const issues = error.issues.map(({ path, message }) => [...path, message].join(': ')).join('; ')
  throw new MillraceError('invalid_input', `invalid arguments of ${name}: ${issues}`)
}
