import { MillraceError } from '../../protocol/errors.ts'
import type { PlainEvent, RunEvent, ToolOutcome } from '../../protocol/events.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { CancelCause, TargetReceipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Question } from '../actors/actor.ts'
import type { Spawn } from '../actors/child-run.ts'
import type { Principal } from '../actors/principal.ts'
import { validate } from '../actors/standard-schema.ts'
import type { RunTools, Tool, ToolAnswer, ToolContext, ToolMap, ToolProgress } from '../actors/tool.ts'
import type { ToolCall } from '../models/model.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { excerpt, wellFormed } from '../text.ts'
import { ProgressReport } from './progress-report.ts'
import { type ToolOutput, toolOutput } from './tool-output.ts'

/** What an event needs beside the output of a tool. */
const RESULT_BYTES = 1_024
/** The longest message about a failure, and the longest name or arguments that one quotes. */
const MAX_MESSAGE_CHARACTERS = 1_000
const MAX_QUOTED_CHARACTERS = 200
/** Issues of arguments that a model is told. */
const MAX_ISSUES = 5

/** What an answer to a request for approval looks like, as JSON Schema. */
const APPROVAL = {
  type: 'object',
  properties: { ok: { type: 'boolean' }, note: { type: 'string' } },
  required: ['ok'],
} as const

/** Stops one piece of work by itself; one that is as good as over it leaves alone. */
export type StopWork = (cause: CancelCause) => void

/** A tool call in the books. */
export type OpenTool = {
  /** The tool has finished. */
  readonly finished: () => void
  /** Its result was told: a cancel does not find it any more. */
  readonly reported: () => void
}

/** What tools take from the run they are called in. */
export interface ToolCallbacks {
  readonly id: string
  readonly principal: Principal
  readonly signal: AbortSignal
  readonly runtime: Pick<Runtime, 'now' | 'setTimer'>
  readonly limits: Pick<Limits, 'maxEvent' | 'cancelGraceMs'>
  /** An id that no other call of this run, or of those around it, has. */
  claimCall(given: string): string
  readonly spawn: Spawn
  /** The number of the run's present life. */
  gen(): number
  emit(event: string | RunEvent): Promise<number>
  request(question: Question): Promise<unknown>
  /** Whether an event could be logged. */
  canSay(event: PlainEvent): boolean
  /** Enters a call in the run's books, with how to stop it alone. */
  openTool(call: string, stop: StopWork): OpenTool
  /** Something failed that clients must not see. */
  failed(error: unknown): void
}

/** Tools in the hands of one run. */
export function bindTools(callbacks: ToolCallbacks, tools: ToolMap): RunTools {
  // Names come from a model: in a plain object it would find `constructor`.
  const byName = new Map(Object.entries(tools))
  return {
    claimId: (given) => callbacks.claimCall(given),
    specs: [...byName].map(([name, { description, parameters }]) => ({ name, description, parameters })),
    call(asked) {
      const answer = new ToolRun(callbacks, byName, asked).answer()
      // Who stops waiting for it before the run stops must not bring the process down.
      answer.catch(() => {})
      return answer
    },
  }
}

type Cancel = { cause: CancelCause; at: number }

/** How a call ended, for the people attached and for the model. */
type CallEnding = { event: PlainEvent; answer: ToolAnswer }

/** One call of a tool, from its arguments to its result. */
class ToolRun {
  readonly #callbacks: ToolCallbacks
  readonly #tools: ReadonlyMap<string, Tool>
  readonly #call: ToolCall
  readonly #controller = new AbortController()
  readonly #progress: ProgressReport
  #startedAt: number
  /** What the tool's own code does: its schema, its `needsApproval`, its `run`. */
  #running: Promise<unknown> | undefined
  #cancel: Cancel | undefined
  #decided = false

  constructor(callbacks: ToolCallbacks, tools: ReadonlyMap<string, Tool>, asked: ToolCall) {
    this.#callbacks = callbacks
    this.#tools = tools
    this.#call = asked
    this.#startedAt = callbacks.runtime.now()
    this.#progress = new ProgressReport(asked.call, (event) => callbacks.emit(event))
  }

  /** @throws the reason for which the run stops. */
  async answer(): Promise<ToolAnswer> {
    const { signal } = this.#callbacks
    signal.throwIfAborted()
    const stopWithRun = (): void => this.#controller.abort(signal.reason)
    signal.addEventListener('abort', stopWithRun, { once: true })
    const { finished, reported } = this.#callbacks.openTool(this.#call.call, (cause) => this.#stop(cause))
    const work = this.#perform()
    work.then(finished, finished)
    try {
      const { event, answer } = await this.#result(work)
      signal.throwIfAborted()
      await this.#callbacks.emit(event)
      return answer
    } finally {
      reported()
      signal.removeEventListener('abort', stopWithRun)
    }
  }

  /** Cancels this call alone, unless its result is decided: that then answers the cancel. */
  #stop(cause: CancelCause): void {
    if (this.#decided || this.#cancel) return
    this.#cancel = { cause, at: this.#callbacks.runtime.now() }
    this.#controller.abort(new MillraceError('cancelled', cancelWords(cause)))
  }

  async #perform(): Promise<ToolOutput> {
    const { signal } = this.#controller
    await this.#callbacks.emit(this.#callEvent())
    const tool = this.#tools.get(this.#call.name)
    if (!tool) throw unknownTool(this.#call.name, [...this.#tools.keys()])
    const input = await this.#watched(checked(tool, this.#call.args))
    signal.throwIfAborted()
    await this.#approve(tool, input)
    signal.throwIfAborted()
    return this.#run(tool, input)
  }

  /** Waits for code of the tool, in a way that a cancel can tell whether it still goes on. */
  #watched<T>(work: T | Promise<T>): Promise<T> {
    const running = Promise.resolve(work)
    this.#running = running
    return running
  }

  /** The call as the people attached see it. What a model wrote may be anything: what cannot travel is quoted. */
  #callEvent(): PlainEvent {
    const { call, name, args } = this.#call
    const event: PlainEvent = { type: 'tool.call', call, name: quoted(name), args }
    return this.#callbacks.canSay(event) ? event : { ...event, args: quoted(JSON.stringify(args) ?? '') }
  }

  async #approve({ needsApproval, approvalMs }: Tool, input: unknown): Promise<void> {
    const needed =
      typeof needsApproval === 'function' ? await this.#watched(needsApproval(input as never)) : needsApproval
    if (!needed) return
    const { call, name, args } = this.#call
    const { signal } = this.#controller
    const prompt = `Allow ${name} ${quoted(JSON.stringify(args) ?? '')}?`
    const question: Question = { kind: 'approve', call, prompt, schema: APPROVAL, expiresMs: approvalMs, signal }
    const answer = await this.#callbacks.request(question).catch((error: unknown) => {
      if (!MillraceError.is(error, 'timeout')) throw error
      throw new MillraceError('tool_failed', `nobody allowed it within ${approvalMs} ms`)
    })
    const { ok, note } = approvalOf(answer)
    if (!ok) throw new MillraceError('tool_failed', `refused by the user${note && `: ${note}`}`)
  }

  /** Runs the tool itself, within its time. */
  async #run(tool: Tool, input: unknown): Promise<ToolOutput> {
    const { runtime } = this.#callbacks
    this.#startedAt = runtime.now()
    const timer = runtime.setTimer(tool.timeoutMs, () => {
      this.#controller.abort(new MillraceError('timeout', `it took longer than ${tool.timeoutMs} ms and was stopped`))
    })
    try {
      const output = await this.#watched(this.#outputOf(tool, input))
      return toolOutput(output, Math.min(tool.maxOutputBytes, this.#callbacks.limits.maxEvent - RESULT_BYTES))
    } finally {
      timer.clear()
    }
  }

  async #outputOf(tool: Tool, input: unknown): Promise<unknown> {
    const given = await tool.run(input as never, this.#context())
    if (!isGenerator(given)) return given
    const { signal } = this.#controller
    try {
      for (;;) {
        const step = await given.next()
        if (step.done) return step.value
        // While the reader is slow the tool waits, but not with its stop.
        await untilAborted(this.#progress.say(step.value), signal)
        signal.throwIfAborted()
      }
    } finally {
      await given.return?.(undefined)
    }
  }

  #context(): ToolContext {
    const callbacks = this.#callbacks
    return {
      signal: this.#controller.signal,
      call: this.#call.call,
      principal: callbacks.principal,
      fence: { run: callbacks.id, gen: callbacks.gen() },
      progress: (progress) => this.#progress.say(progress),
      emit: (event) => callbacks.emit(event),
      spawn: (actor, input, options) => {
        const { signal } = this.#controller
        const either = options?.signal ? AbortSignal.any([signal, options.signal]) : signal
        return callbacks.spawn(actor, input, { ...options, signal: either })
      },
    }
  }

  /** How the call ended. What is still under way when this resolves is told nobody any more. */
  async #result(work: Promise<ToolOutput>): Promise<CallEnding> {
    const ended = await untilAborted(work, this.#controller.signal).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    )
    this.#callbacks.signal.throwIfAborted()
    // A cancel that came first is answered as one, also where the tool would not have it.
    if (this.#cancel) return this.#cancelled(this.#cancel)
    this.#decided = true
    this.#progress.close()
    if ('value' in ended) return this.#ok(ended.value)
    return this.#failed(ended.error)
  }

  #ok({ content, output, truncated }: ToolOutput): CallEnding {
    const event = { ...this.#event('ok'), ...(truncated && { truncated }) }
    const whole = { ...event, output }
    return {
      event: this.#callbacks.canSay(whole) ? whole : { ...event, output: content },
      answer: { outcome: 'ok', content },
    }
  }

  #failed(thrown: unknown): CallEnding {
    if (!MillraceError.is(thrown)) this.#callbacks.failed(thrown)
    const { message } = MillraceError.from(thrown, 'tool_failed', 'the tool failed')
    const error = quoted(message, MAX_MESSAGE_CHARACTERS)
    return { event: { ...this.#event('error'), error }, answer: { outcome: 'error', content: `Error: ${error}` } }
  }

  async #cancelled({ cause, at }: Cancel): Promise<CallEnding> {
    const { runtime, limits, signal } = this.#callbacks
    const settled = await this.#settles(limits.cancelGraceMs)
    signal.throwIfAborted()
    this.#decided = true
    this.#progress.close()
    const { by, code, note } = cause
    const ms = Math.round((runtime.now() - at) * 1_000) / 1_000
    const receipt: TargetReceipt = { code, by, settled, ms, ...(note !== undefined && { note }) }
    const content = `Error: ${cancelWords(cause)}`
    return { event: { ...this.#event('cancelled'), receipt }, answer: { outcome: 'cancelled', content } }
  }

  /** Whether the tool finishes within `graceMs`. */
  #settles(graceMs: number): Promise<boolean> {
    if (!this.#running) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = this.#callbacks.runtime.setTimer(graceMs, () => resolve(false))
      const done = (): void => {
        timer.clear()
        resolve(true)
      }
      this.#running?.then(done, done)
    })
  }

  #event(outcome: ToolOutcome): Extract<PlainEvent, { type: 'tool.result' }> {
    const ms = Math.round(this.#callbacks.runtime.now() - this.#startedAt)
    return { type: 'tool.result', call: this.#call.call, outcome, ms }
  }
}

async function checked(tool: Tool, args: unknown): Promise<unknown> {
  if (!tool.input) return args
  const result = await validate(tool.input, args)
  if (!result.issues) return result.value
  const issues = result.issues.slice(0, MAX_ISSUES).map(({ message, path = [] }) => {
    const where = path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
    return where === '' ? message : `${where}: ${message}`
  })
  throw new MillraceError('invalid_input', `the arguments do not fit: ${issues.join('; ')}`)
}

function unknownTool(name: string, names: readonly string[]): MillraceError {
  const known = names.length > 0 ? `there is ${names.join(', ')}` : 'there are none'
  return new MillraceError('not_found', `there is no tool ${quoted(name)}: ${known}`)
}

/** What was said to a request for approval: `approve` gives a map, and `answer` may give a plain yes. */
function approvalOf(answer: unknown): { ok: boolean; note: string } {
  const { ok, note } =
    typeof answer === 'object' && answer !== null ? (answer as Record<string, unknown>) : { ok: answer }
  return { ok: ok === true, note: typeof note === 'string' ? quoted(note, MAX_MESSAGE_CHARACTERS) : '' }
}

function cancelWords({ by, note }: CancelCause): string {
  return `cancelled by the ${by === 'client' ? 'user' : by}${note === undefined || note === '' ? '' : `: ${note}`}`
}

function quoted(text: string, most = MAX_QUOTED_CHARACTERS): string {
  return wellFormed(excerpt(text, most))
}

function isGenerator(given: unknown): given is AsyncGenerator<ToolProgress, unknown> {
  return typeof given === 'object' && given !== null && Symbol.asyncIterator in given && 'next' in given
}
