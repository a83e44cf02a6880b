import type {
  CallToolResult,
  ClientCapabilities,
  InputRequiredResult,
  ServerContext,
} from '@modelcontextprotocol/server'
import { RunProgress } from './progress.ts'
import { callStateOf, Questions } from './questions.ts'
import { type Reading, readRun } from './reading.ts'
import type { RunClient } from './run-client.ts'
import { endOf, resultOf } from './tool-result.ts'

const NEVER = new AbortController().signal

/** A call of an actor's tool. */
export type ActorCall = {
  readonly client: RunClient
  readonly actor: string
  readonly input: unknown
  readonly mcpReq: ServerContext['mcpReq']
  /** What the client of the call can do. Undefined: it did not say. */
  readonly capabilities: ClientCapabilities | undefined
  /** Aborts when the call is to stop, and its run with it. */
  readonly signal: AbortSignal
  /** Whether one more message of progress may be sent. */
  takesProgress(): boolean
}

/**
 * Runs an actor to its end. What it asks goes to the user of the client, as far as that takes questions; if not, the call
 * returns the question, and the run waits for its answer without the call.
 * @throws MillraceError why there is no such run, or no run of such an actor.
 */
export async function callActor(call: ActorCall): Promise<CallToolResult | InputRequiredResult> {
  const { client, actor, input, mcpReq, signal } = call
  const state = callStateOf(mcpReq.requestState())
  const run = state
    ? // From its beginning, because the answer has the text from before the question, too.
      client.attach('', state.run, { after: 0, policy: 'log' })
    : client.start(actor, input, { onDetach: 'continue' })
  // A cancel has no answer: where it is forbidden, or there is no run, nobody is told.
  const stop = (): void => void run.cancel({ note: 'cancelled by the MCP client' }).catch(() => {})
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  const progressToken = mcpReq._meta?.progressToken
  const progress = new RunProgress()
  const questions = new Questions({ ...call, run, state })
  try {
    const reading = await readRun(run, NEVER, {
      onEvent: (event) => {
        const report = progressToken === undefined ? undefined : progress.take(event)
        if (!report || progressToken === undefined || event.seq <= (state?.seq ?? 0) || !call.takesProgress()) return
        // The client may have gone: then its cancel comes, or the end of the connection.
        mcpReq.notify({ method: 'notifications/progress', params: { progressToken, ...report } }).catch(() => {})
      },
      onQuestion: (question, seq) => questions.take(question, seq),
    })
    const { id } = await run.opened
    if (reading.end) return endOf(reading.end, reading.text)
    return questions.next ?? waitingResult(id, reading, questions.why)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** The run asks something that this call cannot bring to the user: it goes on without the call. */
function waitingResult(run: string, { waiting, seq, text }: Reading, why: string | undefined): CallToolResult {
  const advice = `ask the user, answer with steer_run { run, request, answer }, then read on with attach_run { run, after: ${seq} }`
  return resultOf({ run, status: 'waiting', text, seq, waiting, ...(why !== undefined && { why }), advice })
}
