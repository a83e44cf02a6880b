import { MillraceError } from '../../protocol/errors.ts'
import type { PlainEvent, RunEvent, ToolOutcome } from '../../protocol/events.ts'
import type { Limits } from '../../protocol/limits.ts'
import { isMap } from '../../protocol/map.ts'
import { type CancelCause, readReceipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { TimeLimit } from '../../protocol/time-limit.ts'
import { BY_PARENT, type Spawn } from '../actors/child-run.ts'
import { issueWords } from '../actors/issue-words.ts'
import type { Principal } from '../actors/principal.ts'
import type { Question } from '../actors/question.ts'
import { validate } from '../actors/standard-schema.ts'
import type { ApprovedTools, RunTools, Tool, ToolAnswer, ToolContext, ToolMap, ToolProgress } from '../actors/tool.ts'
import type { ToolCall } from '../models/model.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { excerpt, wellFormed } from '../text.ts'
import { approvalOf } from './approval.ts'
import type { ClientTools } from './client-tools.ts'
import { ProgressReport } from './progress-report.ts'
import { redactedOutput, type ToolOutput, toolOutput } from './tool-output.ts'

/** Bytes of a `tool.result` event that are reserved for everything except the output. */
const RESULT_BYTES = 1_024
/** Maximum length of an error message, and of a name or arguments that it quotes, in UTF-16 units. */
const MAX_MESSAGE_CHARACTERS = 1_000
const MAX_QUOTED_CHARACTERS = 200

/** What readers see of an output whose `redact` failed. */
const REDACTED = '[redacted]'

/** What a call waits for: an approval; or, with these arguments, the client that performs it, or runs that it began. */
export type CallWait = { readonly for: 'approval' | 'client' | 'child'; readonly args?: unknown }

/** What a call has to do with the runs that it begins. */
export type SpawningCall = {
  readonly id: string
  /** A child that is found again by its key goes on until `over` resolves. */
  begins(over: Promise<unknown>): void
  /** A child begins or stops to wait for people. */
  childWaits(isWaiting: boolean): void
}

/** An open tool call of a run. The tool runner calls both functions, each once, in any order. */
export type OpenTool = {
  /** The call waits for a person until `what` settles. The run may be parked meanwhile. */
  readonly wait: <T>(waits: CallWait, what: Promise<T>) => Promise<T>
  /** The call waits for a child, which another process finds again when it makes the call again, until `over` resolves. */
  readonly waitForChild: (args: unknown, over: Promise<unknown>) => void
  /** Marks the tool's own code as finished: the run no longer waits for it to settle. */
  readonly finished: () => void
  /** Marks the result as logged: a cancel no longer finds this call. */
  readonly reported: () => void
}

/** The members of a run that its tools use. */
export interface ToolCallbacks {
  readonly id: string
  readonly principal: Principal
  /** Aborts when the run is over. */
  signal(): AbortSignal
  readonly runtime: Pick<Runtime, 'now' | 'setTimer'>
  readonly limits: Pick<Limits, 'maxEvent' | 'cancelGraceMs'>
  /** Returns an id that no other call of this run, its parents or its children has. */
  claimCall(given: string): string
  /** Begins children, for a call or for the actor itself. */
  spawnFor(call: SpawningCall | undefined): Spawn
  /** Something new begins: a run that was parked goes on. Undefined: it need not wait for that. */
  goOn(): Promise<void> | undefined
  /** The tools of its clients, if its actor takes any. */
  readonly clientTools: Pick<ClientTools, 'tools'> | undefined
  /** The number of the run's present life. */
  gen(): number
  /** Logs an event. Resolves with its item number; rejects when the run is over. */
  emit(event: string | RunEvent): Promise<number>
  request(question: Question): Promise<unknown>
  /** Whether an event can be encoded and logged. */
  canSay(event: PlainEvent): boolean
  /**
   * Adds a call to the open work of the run, with the function that stops it alone. That function does nothing once the
   * result of the call is decided.
   */
  openTool(call: string, stop: (cause: CancelCause) => void): OpenTool
  /** What a call waited for when the process died that had begun it. Undefined: it begins here. */
  restoredCall(call: string): CallWait | undefined
  /** Reports an error that clients must not see. */
  failed(error: unknown): void
}

/**
 * Binds tools to one run.
 * @param context the run context that they are given.
 */
export function bindTools(callbacks: ToolCallbacks, tools: ToolMap<never>, context: unknown): RunTools {
  // A map, because names come from a model: a plain object would also find `constructor`.
  const own = new Map<string, AnyTool>(Object.entries(tools))
  const { clientTools } = callbacks
  const all = (): ReadonlyMap<string, AnyTool> => (clientTools ? new Map([...clientTools.tools, ...own]) : own)
  return {
    claimId: (given) => callbacks.claimCall(given),
    // Clients may declare tools at any time.
    get specs() {
      return Array.from(all(), ([name, { description, parameters }]) => ({ name, description, parameters }))
    },
    call(asked, options) {
      const answer = new ToolRun(callbacks, all(), asked, context).answer(options?.signal)
      // A caller may stop waiting before the run stops: that must not be an unhandled rejection.
      answer.catch(() => {})
      return answer
    },
  }
}

/** A tool, whatever it takes. What it is given has been checked by its schema, and by the type checker at its agent. */
type AnyTool = Tool<unknown, unknown, never>

type Cancel = { cause: CancelCause; at: number }

/** The result of a call: the event for the readers of the run, and the answer for the model. */
type CallEnding = { event: PlainEvent; answer: ToolAnswer }

/** One call of a tool, from its arguments to its result. */
class ToolRun {
  readonly #callbacks: ToolCallbacks
  readonly #tools: ReadonlyMap<string, AnyTool>
  readonly #call: ToolCall
  readonly #runContext: unknown
  readonly #controller = new AbortController()
  readonly #progress: ProgressReport
  #startedAt: number
  /** The latest call into the tool's own code: its schema, its `needsApproval` or its `run`. */
  #running: Promise<unknown> | undefined
  #cancel: Cancel | undefined
  /** The arguments that an approver has put in the place of those of the model. */
  #changed: object | undefined
  #decided = false
  #open: OpenTool | undefined

  constructor(callbacks: ToolCallbacks, tools: ReadonlyMap<string, AnyTool>, asked: ToolCall, runContext: unknown) {
    this.#callbacks = callbacks
    this.#tools = tools
    this.#call = asked
    this.#runContext = runContext
    this.#startedAt = callbacks.runtime.now()
    this.#progress = new ProgressReport(
      asked.call,
      (event) => callbacks.emit(event),
      (error) => callbacks.failed(error),
    )
  }

  /**
   * Runs the call and logs its result.
   * @param own cancels this call alone.
   * @throws the reason for which the run stops.
   */
  async answer(own?: AbortSignal): Promise<ToolAnswer> {
    const signal = this.#callbacks.signal()
    signal.throwIfAborted()
    own?.throwIfAborted()
    const stopWithRun = (): void => this.#controller.abort(signal.reason)
    const stopAlone = (): void => this.#stop(BY_PARENT)
    signal.addEventListener('abort', stopWithRun, { once: true })
    own?.addEventListener('abort', stopAlone, { once: true })
    this.#open = this.#callbacks.openTool(this.#call.call, (cause) => this.#stop(cause))
    const { finished, reported } = this.#open
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
      own?.removeEventListener('abort', stopAlone)
    }
  }

  /** Cancels only this call. If the result is decided, that result answers the cancel. */
  #stop(cause: CancelCause): void {
    if (this.#decided || this.#cancel) return
    this.#cancel = { cause, at: this.#callbacks.runtime.now() }
    this.#controller.abort(new MillraceError('cancelled', cancelWords(cause)))
  }

  async #perform(): Promise<ToolOutput> {
    const { signal } = this.#controller
    const restored = this.#callbacks.restoredCall(this.#call.call)
    if (!restored) {
      const goesOn = this.#callbacks.goOn()
      if (goesOn) await untilAborted(goesOn, signal)
      await this.#callbacks.emit(this.#callEvent())
    }
    const tool = this.#tools.get(this.#call.name)
    if (!tool) throw unknownTool(this.#call.name, [...this.#tools.keys()])
    if (!isMap(this.#call.args)) throw noObject(this.#call.args)
    // It was approved, and has its arguments, unless it waited for that.
    if (restored && restored.for !== 'approval') return this.#run(tool, restored.args)
    const input = await this.#watched(checked(tool, this.#call.args))
    signal.throwIfAborted()
    const approved = await this.#approved(tool, input, restored !== undefined)
    signal.throwIfAborted()
    return this.#run(tool, approved)
  }

  /** Records code of the tool, so that a cancel can wait until it has finished. */
  #watched<T>(work: T | Promise<T>): Promise<T> {
    const running = Promise.resolve(work)
    this.#running = running
    return running
  }

  /** The `tool.call` event. Arguments from a model may be anything: those that cannot be encoded are quoted as text. */
  #callEvent(): PlainEvent {
    const { call, name, args } = this.#call
    const atClient = this.#tools.get(name)?.atClient === true && { client: true }
    const event: PlainEvent = { type: 'tool.call', call, name: quoted(name), args, ...atClient }
    return this.#callbacks.canSay(event) ? event : { ...event, args: quoted(JSON.stringify(args) ?? '') }
  }

  /** The input with which the call may run: that of the model, or the one that an approver has put in its place. */
  async #approved(tool: AnyTool, input: unknown, isAsked: boolean): Promise<unknown> {
    const { needsApproval, approvedBy, approvalMs: expiresMs } = tool
    const context = this.#context()
    const needed =
      typeof needsApproval === 'function' ? await this.#watched(needsApproval(input as never, context)) : needsApproval
    if (!needed && !isAsked) return input
    const remembered = approvedIn(this.#callbacks)
    const isFor = (by: Principal | undefined, what: unknown): boolean =>
      !approvedBy || (by !== undefined && approvedBy(by, what as never, context))
    if (remembered.has(tool) && isFor(remembered.get(tool), input)) return input
    const { signal } = this.#controller
    let approver: Principal | undefined
    const who = (by: Principal): boolean => {
      if (!isFor(by, input)) return false
      approver = by
      return true
    }
    const request = { ...this.#call, expiresMs, signal, who: approvedBy && who }
    const asked = approvalOf((question) => this.#callbacks.request(question), request)
    const { args, remember } = await this.#wait({ for: 'approval' }, asked)
    if (remember) remembered.set(tool, approver)
    if (args === undefined) return input
    if (!isMap(args)) throw noObject(args)
    this.#changed = args
    const changed = await this.#watched(checked(tool, args))
    if (!isFor(approver, changed))
      throw new MillraceError('tool_failed', 'the approver may not approve the changed arguments')
    return changed
  }

  /** Runs the tool itself, within its time limit. */
  async #run(tool: AnyTool, input: unknown): Promise<ToolOutput> {
    const { runtime } = this.#callbacks
    this.#startedAt = runtime.now()
    const limit = new TimeLimit(runtime, tool.timeoutMs, () => {
      this.#controller.abort(
        new MillraceError('timeout', `the tool took longer than ${tool.timeoutMs} ms and was stopped`),
      )
    })
    try {
      const output = await this.#watched(this.#outputOf(tool, input, limit))
      const maxBytes = Math.min(tool.maxOutputBytes, this.#callbacks.limits.maxEvent - RESULT_BYTES)
      const whole = toolOutput(output, maxBytes)
      return tool.redact ? redactedOutput(whole, this.#redacted(tool.redact, output, maxBytes)) : whole
    } finally {
      limit.clear()
    }
  }

  /** What readers see of an output. They must not see all of it because the code that hides it fails. */
  #redacted(redact: NonNullable<Tool['redact']>, output: unknown, maxBytes: number): ToolOutput {
    try {
      return toolOutput(redact(output as never), maxBytes)
    } catch (error) {
      this.#callbacks.failed(error)
      return toolOutput(REDACTED, maxBytes)
    }
  }

  /** Waits for a person. */
  #wait<T>(waits: CallWait, what: Promise<T>): Promise<T> {
    return this.#open ? this.#open.wait(waits, what) : what
  }

  async #outputOf(tool: AnyTool, input: unknown, limit: TimeLimit): Promise<unknown> {
    const running = tool.run(input as never, this.#context(limit, input))
    const given = await (tool.atClient
      ? this.#wait({ for: 'client', args: input }, running as Promise<unknown>)
      : running)
    if (!isGenerator(given)) return given
    const { signal } = this.#controller
    try {
      for (;;) {
        // Also before the first step: the code of a generator begins with that, and a stop may have come before it.
        signal.throwIfAborted()
        const step = await given.next()
        if (step.done) return step.value
        // A slow reader holds the tool back, but never delays its stop.
        await untilAborted(this.#progress.send(step.value), signal)
      }
    } finally {
      await given.return?.(undefined)
    }
  }

  /** @param args with which it runs. */
  #context(limit?: TimeLimit, args?: unknown): ToolContext<never> {
    const callbacks = this.#callbacks
    const { signal } = this.#controller
    const either = (other: AbortSignal | undefined): AbortSignal => (other ? AbortSignal.any([signal, other]) : signal)
    return {
      context: this.#runContext as never,
      signal,
      call: this.#call.call,
      principal: callbacks.principal,
      fence: { run: callbacks.id, gen: callbacks.gen() },
      progress: (progress) => this.#progress.send(progress),
      emit: (event) => callbacks.emit(event),
      request: async (question) => {
        limit?.pause()
        try {
          const { call } = this.#call
          return await callbacks.request({ call, ...question, signal: either(question.signal) })
        } finally {
          limit?.resume()
        }
      },
      spawn: (actor, input, options) => {
        const spawn = callbacks.spawnFor({
          id: this.#call.call,
          begins: (over) => this.#open?.waitForChild(args, over),
          childWaits: limit ? pausedBy(limit) : () => {},
        })
        return spawn(actor, input, { ...options, signal: either(options?.signal) })
      },
    }
  }

  /** Resolves with the result of the call. It ignores everything that the tool does later. */
  async #result(work: Promise<ToolOutput>): Promise<CallEnding> {
    const ended = await untilAborted(work, this.#controller.signal).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    )
    this.#callbacks.signal().throwIfAborted()
    // A cancel that came first decides the outcome, even if the tool finished with an output.
    if (this.#cancel) return this.#cancelled(this.#cancel)
    this.#decided = true
    this.#progress.close()
    if ('value' in ended) return this.#ok(ended.value)
    return this.#failed(ended.error)
  }

  #ok({ content, output, truncated, shown }: ToolOutput): CallEnding {
    const event = { ...this.#event('ok'), ...(truncated && { truncated }) }
    const whole = { ...event, output }
    return {
      event: this.#callbacks.canSay(whole) ? whole : { ...event, output: shown ?? content },
      answer: { outcome: 'ok', content: this.#noted(content), ...(shown !== undefined && { shown }) },
    }
  }

  #failed(thrown: unknown): CallEnding {
    if (!MillraceError.is(thrown)) this.#callbacks.failed(thrown)
    const { message } = MillraceError.from(thrown, 'tool_failed', 'the tool failed')
    const error = quoted(message, MAX_MESSAGE_CHARACTERS)
    const content = this.#noted(`Error: ${error}`)
    return { event: { ...this.#event('error'), error }, answer: { outcome: 'error', content } }
  }

  /** What the model is told of a call: also, that it ran with other arguments than its own. */
  #noted(content: string): string {
    if (!this.#changed) return content
    return `The user changed the arguments to ${quoted(JSON.stringify(this.#changed), MAX_MESSAGE_CHARACTERS)}.\n${content}`
  }

  async #cancelled({ cause, at }: Cancel): Promise<CallEnding> {
    const { runtime, limits } = this.#callbacks
    const settled = await this.#settles(limits.cancelGraceMs)
    this.#callbacks.signal().throwIfAborted()
    this.#decided = true
    this.#progress.close()
    const { by, code, note } = cause
    const ms = Math.round((runtime.now() - at) * 1_000) / 1_000
    const receipt = readReceipt({ code, by, settled, ms, ...(note !== undefined && { note }) })
    const content = `Error: ${cancelWords(cause)}`
    return { event: { ...this.#event('cancelled'), receipt }, answer: { outcome: 'cancelled', content } }
  }

  /** Resolves with whether the tool's code finishes within `graceMs` milliseconds. */
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
    const event = { type: 'tool.result' as const, call: this.#call.call, outcome, ms }
    if (!this.#changed) return event
    const changed = { ...event, args: this.#changed }
    return this.#callbacks.canSay(changed) ? changed : event
  }
}

/** The tools whose further calls are approved, and by whom, for each run. */
const APPROVED = new WeakMap<ToolCallbacks, ApprovedTools>()

/** The tools of which all further calls in a run are approved. */
export function approvedIn(run: ToolCallbacks): ApprovedTools {
  const known = APPROVED.get(run) ?? new Map<AnyTool, Principal | undefined>()
  APPROVED.set(run, known)
  return known
}

/** @throws MillraceError `invalid_input` with the issues of the schema. */
async function checked(tool: AnyTool, args: unknown): Promise<unknown> {
  if (!tool.input) return args
  const result = await validate(tool.input, args)
  if (!result.issues) return result.value
  throw new MillraceError('invalid_input', `invalid arguments: ${issueWords(result.issues).join('; ')}`)
}

/** Lets a limit stand still while a child waits for people. */
function pausedBy(limit: TimeLimit): (isWaiting: boolean) => void {
  let isPaused = false
  return (isWaiting) => {
    if (isWaiting === isPaused) return
    isPaused = isWaiting
    if (isWaiting) limit.pause()
    else limit.resume()
  }
}

/** The error of arguments that are cut off, or are no object. Invalid JSON is still text here. */
function noObject(args: unknown): MillraceError {
  const text = typeof args === 'string' ? args : (JSON.stringify(args) ?? String(args))
  return new MillraceError('invalid_input', `invalid arguments: not a JSON object: ${quoted(text)}`)
}

function unknownTool(name: string, names: readonly string[]): MillraceError {
  const known = names.length > 0 ? names.join(', ') : 'none'
  return new MillraceError('not_found', `unknown tool ${quoted(name)}; known tools: ${known}`)
}

function cancelWords({ by, note }: CancelCause): string {
  return `cancelled by the ${by === 'client' ? 'user' : by}${note === undefined || note === '' ? '' : `: ${note}`}`
}

function quoted(text: string, most = MAX_QUOTED_CHARACTERS): string {
  return wellFormed(excerpt(text, most))
}

/** Whether a tool returned a generator: an async one, or the object of a `function*`. Other iterators are data. */
function isGenerator(given: unknown): given is AsyncGenerator<ToolProgress> | Generator<ToolProgress> {
  if (typeof given !== 'object' || given === null || !('next' in given)) return false
  return Symbol.asyncIterator in given || Object.prototype.toString.call(given) === '[object Generator]'
}
