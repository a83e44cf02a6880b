import { MillraceError } from '../../protocol/errors.ts'
import type { ActorContext, RunInput, RunModel } from '../actors/actor.ts'
import type { RunTools, ToolMap } from '../actors/tool.ts'
import type { Message, StopReason } from '../models/model.ts'
import { begun } from '../streams/begun.ts'
import type { AgentDefinition, AgentStart } from './agent-definition.ts'
import type { Asked } from './agent-input.ts'
import { AgentMessages, type OnTaken } from './agent-messages.ts'
import { type AgentOutput, askAgain, MAX_REASKS } from './agent-output.ts'
import type { AgentSettings } from './agent-settings.ts'
import { ConversationFiles, type FileRules } from './client-files.ts'
import { validConversation } from './conversation.ts'
import { finishContext } from './finish-context.ts'
import { Turn, type TurnOutput } from './turn.ts'
import { checkTurn, planTurn, type TurnDefaults, type TurnOptions, type TurnPlan } from './turn-plan.ts'

/** An agent as its loop sees it. The type checker has compared what `context` makes with what the others take. */
export type LoopDefinition = Omit<AgentDefinition<never>, 'context' | 'settings' | 'files' | 'output'> & {
  readonly tools: ToolMap<never>
  readonly maxIterations: number
  readonly settings: AgentSettings
  readonly files: FileRules
  readonly output: AgentOutput | undefined
  readonly context?: AgentDefinition['context']
  readonly onTaken?: OnTaken
}

/**
 * How often a turn is planned, at most. It is planned again when a message in mode `now` or a pause comes before its
 * request is sent. What comes after the last time is for the next turn.
 */
const MAX_PLANS = 4

/** Where a run stands. */
type Where = { readonly n: number; readonly reasks: number; readonly isReask: boolean }

/** What the model has answered in a turn. */
type TurnAnswer = Pick<Turn, 'calls' | 'text' | 'usage'> & {
  readonly stop: StopReason | 'interrupted'
  readonly isCut: boolean
}

/** How a turn was made, and what came of it. */
type PlannedTurn = { readonly plan: TurnPlan; readonly answer: TurnAnswer }

/** From what a run goes on in another process. */
export type AgentState = Where & {
  readonly conversation: readonly Message[]
  /** Of this turn: its answer, and the results that are there. */
  readonly unfinished: readonly Message[]
  /** Messages that wait for the end of the answer. */
  readonly after: readonly RunInput[]
  /** Messages in the conversation that no request has had. */
  readonly taken: readonly RunInput[]
  /** Absent: the model was not asked yet. */
  readonly answer?: TurnAnswer
}

/** One run of an agent: model, tools, model again, until the model makes no more tool calls. */
export class AgentLoop {
  readonly #agent: LoopDefinition
  readonly #asked: Asked
  readonly #context: ActorContext
  /** What `context` of the agent made for this run. */
  #runContext: unknown
  /** Of all turns of this run, unless `turn` says otherwise. */
  #defaults!: TurnDefaults
  readonly #conversation: Message[] = []
  /** The images and files that its client sends. */
  readonly #files: ConversationFiles
  /** The messages of the current turn, until it is complete. */
  #unfinished: Message[] = []
  #turn: Turn | undefined
  readonly #messages: AgentMessages
  /** Messages that were accepted and that no turn will answer: the next run gets them. */
  readonly #unread: Message[] = []
  /** The warnings about settings that readers have got: every turn gives them again. */
  readonly #unsupported = new Set<string>()

  constructor(agent: LoopDefinition, asked: Asked, context: ActorContext) {
    this.#agent = agent
    this.#asked = asked
    this.#context = context
    this.#files = new ConversationFiles(agent.files, context.principal)
    this.#messages = new AgentMessages(context, this.#files, agent.onTaken)
  }

  /** The actor of the agent. A cancel leaves it at any `yield`. */
  async *run(): AsyncGenerator<TurnOutput, unknown> {
    const { maxIterations, onStep, output } = this.#agent
    const context = this.#context
    const conversation = this.#conversation
    const messages = this.#messages
    /** The turn in which another process left the run. */
    let restored = context.restored as AgentState | undefined
    await this.#begin(restored)
    /** How often the model was asked again for an answer that fits. */
    let reasks = restored?.reasks ?? 0
    let isReask = restored?.isReask ?? false
    let failure: { error: unknown } | undefined
    try {
      for (let n = restored?.n ?? 1; ; n++) {
        const where = { n, reasks, isReask }
        const left = restored
        restored = undefined
        const turn = left?.answer ? await this.#answered(left.answer, where) : yield* this.#ask(where)
        if (turn === undefined) {
          if (output) throw invalidOutput('the run was ended before it had one')
          return undefined
        }
        const { plan, answer: asked } = turn
        const { calls, stop, text, usage, isCut } = asked
        if (calls.length > 0 && n >= maxIterations) {
          yield { type: 'iteration.end', n, stop }
          throw tooManyTurns(maxIterations)
        }
        await this.#callTools(plan.tools, asked, where)
        const said = validConversation(this.#unfinished)
        conversation.push(...said)
        this.#unfinished = []
        const { id } = plan.model
        if (onStep) await onStep({ n, stop, messages: said, usage, model: id, ...this.#given() })
        yield { type: 'iteration.end', n, stop }
        const answered = conversation.length
        const answer = calls.length === 0 && !isCut ? await output?.read(text) : undefined
        yield* messages.takeInto(conversation)
        isReask = false
        if (calls.length > 0 || conversation.length > answered) continue
        if (answer?.problem !== undefined) {
          if (reasks === MAX_REASKS || n >= maxIterations) throw invalidOutput(answer.problem)
          reasks++
          isReask = true
          yield reasked(answer.problem, reasks)
          conversation.push({ role: 'user', content: askAgain(answer.problem) })
        } else if (n >= maxIterations || !(yield* messages.takeAfterInto(conversation))) {
          context.refuseInputs()
          return answer?.value
        }
      }
    } catch (error) {
      failure = { error }
      context.refuseInputs()
      if (!context.signal.aborted) yield* this.#messages.takeInto(this.#unread)
      throw error
    } finally {
      context.refuseInputs()
      try {
        await this.#finish(failure)
      } finally {
        this.#files.release()
      }
    }
  }

  /**
   * Plans a turn and asks the model. A message that comes before the request is sent becomes part of it, if it is one that
   * cuts an answer short, or if the run was paused meanwhile. Undefined: `turn` ends the run before it.
   */
  async *#ask(where: Where): AsyncGenerator<TurnOutput, PlannedTurn | undefined> {
    const context = this.#context
    const messages = this.#messages
    const { n } = where
    // A pause may hold the request back.
    context.checkpoint((waiting) => (waiting.length === 0 ? this.#state(where) : undefined))
    for (let planned = 1; ; planned++) {
      while (context.paused) await context.resumed()
      // No turn follows the last one, so a later message would never reach the model.
      if (n >= this.#agent.maxIterations) context.refuseInputs()
      yield* messages.takeInto(this.#conversation)
      const uncut = messages.uncut()
      const plan = await this.#planned(where)
      if (plan === undefined) return undefined
      if (planned < MAX_PLANS && (context.paused || uncut.aborted)) continue
      while (context.paused) await context.resumed()
      // Nothing may wait between here and the request.
      return { plan, answer: yield* this.#request(plan, n) }
    }
  }

  /** Sends the request of a turn, and reports that the turn has begun. The turn is unfinished then. */
  async *#request(plan: TurnPlan, n: number): AsyncGenerator<TurnOutput, TurnAnswer> {
    const { signal } = this.#context
    const cut = this.#messages.uncut()
    const turn = new Turn(plan.tools, plan.model.provider)
    this.#turn = turn
    let isCut = false
    const events = begun(plan.model.stream({ ...plan.call, signal: cut }))
    try {
      yield { type: 'iteration', n, max: this.#agent.maxIterations }
      yield* this.#messages.report(n)
      for await (const event of events) {
        // A model may have more at hand that came before the cut. Only an answer that is whole still counts.
        isCut = cut.aborted && event.type !== 'finish'
        if (isCut) break
        const output = turn.take(event)
        if (output !== undefined && !this.#isRepeated(output)) yield output
      }
    } catch (error) {
      isCut = cut.aborted && !signal.aborted
      if (!isCut) throw error
    } finally {
      // The reader of the run may leave it before the loop.
      await events.return()
    }
    if (turn.dropped > 0) yield tooManyCalls(turn.dropped)
    this.#unfinished = [turn.message(!isCut)]
    this.#turn = undefined
    const { text, usage } = turn
    return { calls: isCut ? [] : turn.calls, stop: isCut ? 'interrupted' : turn.stop, text, usage, isCut }
  }

  /** A turn that another process has asked the model about. */
  async #answered(answer: TurnAnswer, where: Where): Promise<PlannedTurn | undefined> {
    const plan = await this.#planned(where)
    return plan && { plan, answer }
  }

  /** From what another process goes on: in this turn, before its request or after its answer. */
  #state(where: Where, answer?: TurnAnswer): AgentState {
    return {
      ...where,
      conversation: [...this.#conversation],
      unfinished: [...this.#unfinished],
      after: this.#messages.after,
      taken: this.#messages.taken,
      ...(answer && { answer }),
    }
  }

  /** Reads the input, and makes what the turns need. */
  async #begin(restored: AgentState | undefined): Promise<void> {
    const { messages, settings } = this.#asked
    const model = this.#context.model(this.#agent.model)
    try {
      const input = { messages: restored ? restored.conversation : this.#files.accept(messages), settings }
      this.#conversation.push(...validConversation(input.messages))
      if (restored) {
        this.#unfinished.push(...restored.unfinished)
        this.#messages.restore(restored)
      }
      if (this.#agent.context) await this.#makeContext(input)
      this.#setDefaults(model)
    } catch (error) {
      this.#files.release()
      throw error
    }
  }

  async #makeContext(input: AgentStart['input']): Promise<void> {
    const { principal, run, signal } = this.#context
    this.#runContext = await this.#agent.context?.({ principal, run, meta: run.meta, input, signal })
    signal.throwIfAborted()
  }

  #setDefaults(model: RunModel): void {
    const { instructions, settings, tools, output } = this.#agent
    const bound = this.#bind(tools)
    this.#defaults = { model, tools: bound, instructions, settings: settings.forRun(this.#asked.settings), output }
    for (const message of [...this.#conversation, ...this.#unfinished])
      if (message.role === 'tool') bound.claimId(message.call)
  }

  /** What all callbacks are given. */
  #given(): Pick<ActorContext, 'principal' | 'run' | 'signal'> & { context: never } {
    const { principal, run, signal } = this.#context
    return { principal, run, signal, context: this.#runContext as never }
  }

  #bind(tools: ToolMap<never>): RunTools {
    return this.#context.tools<never>(tools, this.#runContext as never)
  }

  /** The plan of a turn, as `turn` of the agent decides. Undefined: the run ends before it. */
  async #planned({ n, isReask }: Where): Promise<TurnPlan | undefined> {
    const { turn } = this.#agent
    if (!turn) return this.#plan(n, {}, isReask)
    const { usage, signal } = this.#context
    const given = { n, messages: [...this.#conversation], usage, ...this.#given() }
    const options = (await turn(given)) ?? {}
    signal.throwIfAborted()
    checkTurn(options)
    return options.stop === true ? undefined : this.#plan(n, options, isReask)
  }

  #plan(n: number, options: TurnOptions<never>, isReask: boolean): TurnPlan {
    const bind = (tools: ToolMap<never>): RunTools => this.#bind(tools)
    return planTurn(
      n,
      this.#conversation,
      this.#defaults,
      options,
      {
        settings: this.#agent.settings,
        model: (which) => this.#context.model(which),
        bind,
      },
      isReask,
    )
  }

  /** Runs the calls of a turn that have no result yet. */
  async #callTools(tools: RunTools, answer: TurnAnswer, where: Where): Promise<void> {
    const hasResult = (id: string): boolean => this.#unfinished.some((said) => said.role === 'tool' && said.call === id)
    const open = answer.calls.filter(({ call }) => !hasResult(call))
    const checkpoint = (): void =>
      this.#context.checkpoint((waiting) => {
        const isSafe = open.every(({ call }) => hasResult(call) || waiting.includes(call))
        return isSafe ? this.#state(where, answer) : undefined
      })
    if (open.length > 0) checkpoint()
    await Promise.all(
      open.map(async (call) => {
        const { content, shown } = await tools.call(call)
        const redacted = shown !== undefined && { shown }
        this.#unfinished.push({ role: 'tool', call: call.call, name: call.name, content, ...redacted })
        checkpoint()
      }),
    )
  }

  /** Whether an output is a warning about settings that readers have got. */
  #isRepeated(output: TurnOutput): boolean {
    if (typeof output === 'string' || output.type !== 'warning' || output.code !== 'unsupported_setting') return false
    if (this.#unsupported.has(output.message)) return true
    this.#unsupported.add(output.message)
    return false
  }

  /** Hands over the conversation. */
  async #finish(failure: { error: unknown } | undefined): Promise<void> {
    const context = this.#context
    if (this.#turn) this.#unfinished = [this.#turn.message(false)]
    this.#unread.push(...this.#messages.rest())
    const { onFinish } = this.#agent
    if (!onFinish) return
    const conversation = validConversation([...this.#conversation, ...this.#unfinished, ...this.#unread])
    try {
      await onFinish(conversation, finishContext(context, this.#runContext, failure))
    } catch (error) {
      // The run has its end already. The failure of a run that would be done is that run's own.
      if (!failure && !context.signal.aborted) throw error
      context.reportError(error)
    }
  }
}

function invalidOutput(problem: string): MillraceError {
  return new MillraceError('invalid_output', `the model gave no answer that fits the output of this agent: ${problem}`)
}

function reasked(problem: string, n: number): TurnOutput {
  const message = `the answer does not fit: ${problem}; the model is asked again (${n} of ${MAX_REASKS})`
  return { type: 'warning', code: 'invalid_output', message }
}

function tooManyTurns(max: number): MillraceError {
  return new MillraceError('max_iterations', `the model needs more than ${max} turns: raise maxIterations`)
}

function tooManyCalls(dropped: number): TurnOutput {
  const calls = dropped === 1 ? 'a tool call' : `${dropped} tool calls`
  return { type: 'warning', code: 'too_many_calls', message: `too many tool calls in one turn: ${calls} left out` }
}
