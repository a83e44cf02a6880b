import type { AnswerOf, InputOf } from '../../protocol/actors.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import { checkOptions, type OptionKind } from '../../protocol/options.ts'
import type { Actor } from '../actors/actor.ts'
import type { Question } from '../actors/question.ts'
import type { FlowNode, FlowNodes, Items, StepBody } from './flow-node.ts'
import { checkRetry, type RetryPolicy } from './retry-policy.ts'
import type { StepContext } from './step-context.ts'

/** The names of steps: their ids are paths of them. */
const NAME = /^[\w.: -]{1,64}$/

/** Steps that give an `Out` at their end. */
export interface Steps<Out> {
  /** For the type checker only. */
  readonly '~out'?: Out
  /** The steps, as data. */
  readonly nodes: FlowNodes
}

/** What steps give. */
type OutOf<S> = S extends Steps<infer Out> ? Out : never

/** What a function gives: a value, or a promise of it. */
type Running<Out> = Out | Promise<Out>

/** Keeps a generator from being a value: the compiler would prefer that to what it returns. */
type NoGenerator<Out> = [Out] extends [never] ? unknown : Out extends AsyncGenerator ? never : unknown

/** What a generator gives that streams: what it returns, or the text that it yielded. */
type Said<Out> = Out extends void ? string : Out

/** Options of any step. */
export type StepOptions<Value, Recovered = never, Input = unknown> = {
  /** How often it is tried. Default: once. */
  retry?: RetryPolicy | undefined
  /** Time limit of one attempt, in milliseconds. Default: none besides that of the run. */
  timeoutMs?: number | undefined
  /** Gives what takes its place when it has failed, or its child was cancelled. Default: the run fails. */
  recover?: ((error: MillraceError, value: Value, input: Input) => Running<Recovered>) | undefined
  /**
   * Whether a function is done in a child run of its own, so that clients can stop, pause and slow down this step alone.
   * An actor always is. Default false.
   */
  branch?: boolean | undefined
}

/** Options of a step that is another actor. */
export type ActorStepOptions<Input, Value, A, Recovered = never, Out = AnswerOf<A>> = StepOptions<
  Value,
  Recovered,
  Input
> & {
  /** Makes the input of the actor. Default: the value of the step before. */
  input?: ((value: Value, input: Input) => InputOf<A>) | undefined
  /** Makes what the next step gets. Default: the answer of the actor. */
  output?: ((answer: AnswerOf<A>, value: Value) => Out) | undefined
  /** Whether readers get its events, and not only its result. Default true. */
  streaming?: boolean | undefined
}

/** Options of `map`. */
export type MapOptions<Input, Value, Item, Out> = {
  /**
   * The data set: an array, or anything that `for await` takes. Default of its total: the length of an array. `signal`
   * aborts when the step is stopped: a source that waits for its next item should end then.
   */
  over: (value: Value, input: Input, signal: AbortSignal) => Iterable<Item> | AsyncIterable<Item>
  /** What is done with one item. One of `each`, `actor` and `steps`. */
  each?: ((item: Item, context: StepContext<Input>) => Running<Out>) | undefined
  /** How many items are done between two `progress` events, and kept together. Default 100. */
  chunk?: number | undefined
  /** How many items are done at the same time. Default 4. */
  concurrency?: number | undefined
}

/** Options of `batch`. */
export type BatchOptions<Input, Value, Item> = {
  /**
   * The data set: anything that `for await` takes. It is read chunk by chunk. `signal` aborts when the step is stopped: a
   * source that waits for its next item should end then.
   */
  over: (value: Value, input: Input, signal: AbortSignal) => Iterable<Item> | AsyncIterable<Item>
  /** What is done with one chunk. */
  each: (items: Item[], context: StepContext<Input>) => Running<unknown>
  /** How many items a chunk has. There is a `progress` event behind each. Default 100. */
  chunk?: number | undefined
  /** How many chunks are done at the same time. Default 1. */
  concurrency?: number | undefined
  /** The number of items, for the progress. Default: the length of an array. */
  total?: ((value: Value, input: Input) => number | undefined) | undefined
  /**
   * Gives the items behind the first `done`, where a run begins where another one failed. Default: `over`, of which
   * those are read and left out.
   */
  from?: ((value: Value, done: number, signal: AbortSignal) => Iterable<Item> | AsyncIterable<Item>) | undefined
}

/** Options of `ask`. */
export type AskOptions<Input, Value, Out> = Omit<Question, 'kind' | 'prompt' | 'call' | 'signal'> & {
  /** The expected sort of answer. Default `text`. */
  kind?: string | undefined
  /** Text for the person who answers. Default: the name of the step. */
  prompt?: string | ((value: Value, input: Input) => string) | undefined
  /** Makes what the next step gets. Default: the answer. */
  then?: ((value: Value, answer: unknown) => Out) | undefined
}

/** Options of `approve`. */
export type ApproveOptions<Input, Value, Refused = never> = Omit<
  AskOptions<Input, Value, never>,
  'kind' | 'then' | 'schema'
> & {
  /** Gives what the next step gets after a refusal. Default: the run fails. */
  refused?: ((value: Value, note: string | undefined) => Refused) | undefined
}

/**
 * The steps of a workflow, one after the other. Each method adds a step, and gives the steps so far with it. A step gets
 * what the one before it gave; the first one gets the input.
 *
 * A name has 1 to 64 letters, digits, spaces or `_ . : -`, and is used once among its neighbours.
 *
 * @typeParam Input The input of the workflow.
 * @typeParam Value What the last step gives so far.
 */
export interface Flow<Input, Value> extends Steps<Value> {
  /**
   * An actor or an agent, as a child run. A workflow as a step becomes part of this one.
   * @throws MillraceError `bad_request` for an invalid name or option. So do all other methods.
   */
  step<A extends Actor, Recovered = never, Out = AnswerOf<A>>(
    name: string,
    actor: A,
    ...options: Value extends InputOf<A>
      ? [options?: ActorStepOptions<Input, Value, A, Recovered, Out>]
      : [
          options: ActorStepOptions<Input, Value, A, Recovered, Out> & {
            input: (value: Value, input: Input) => InputOf<A>
          },
        ]
  ): Flow<Input, NoInfer<Out | Recovered>>
  /** A generator, whose texts and events readers get as they come. It gives what it returns, or else its text. */
  step<Out, Recovered = never>(
    name: string,
    run: (value: Value, context: StepContext<Input>) => AsyncGenerator<string | RunEvent, Out>,
    options?: StepOptions<Value, Recovered, Input>,
  ): Flow<Input, NoInfer<Said<Out> | Recovered>>
  /** A plain function. */
  step<Out, Recovered = never>(
    name: string,
    run: (value: Value, context: StepContext<Input>) => Running<Out> & NoGenerator<Out>,
    options?: StepOptions<Value, Recovered, Input>,
  ): Flow<Input, NoInfer<Out | Recovered>>
  /**
   * Branches at the same time. Each is a child run, which clients can stop, pause and slow down alone. The first failure
   * stops the others. Gives an object with what each branch gave.
   */
  parallel<Branches extends { readonly [name: string]: Steps<unknown> }, Recovered = never>(
    name: string,
    branches: (flow: Flow<Input, Value>) => Branches,
    options?: {
      /** Gives what takes the place of a branch that failed or was cancelled. Default: the step fails. */
      recover?:
        | ((error: MillraceError, branch: keyof Branches & string, value: Value) => Running<Recovered>)
        | undefined
    },
  ): Flow<Input, { [Name in keyof Branches]: OutOf<Branches[Name]> | NoInfer<Recovered> }>
  /**
   * One of several ways. Those that are not taken are `skipped`.
   * @param by names the way, by the value alone: it may be called again after a restart.
   * @param cases the ways by their names; `else` is for every other name.
   */
  route<Cases extends { readonly [name: string]: Steps<unknown> }>(
    name: string,
    by: (value: Value, input: Input) => string,
    cases: (flow: Flow<Input, Value>) => Cases,
  ): Flow<Input, OutOf<Cases[keyof Cases]>>
  /**
   * The same steps again, with what they gave, until `until` holds.
   * @param options.max the most iterations; behind them the step fails with `max_iterations`. Default 10.
   */
  loop<Out extends Value>(
    name: string,
    steps: (flow: Flow<Input, Value>) => Steps<Out>,
    options: { until: (value: Out, n: number, input: Input) => boolean; max?: number | undefined },
  ): Flow<Input, Out>
  /** The same for each item of a data set. Gives the results, in the order of the items. */
  map<Item, Out>(
    name: string,
    options: MapOptions<Input, Value, Item, Out> & { each: (item: Item, context: StepContext<Input>) => Running<Out> },
  ): Flow<Input, Out[]>
  /** The same steps for each item of a data set. Each of them is shown. */
  map<Item, Out>(
    name: string,
    options: Omit<MapOptions<Input, Value, Item, Out>, 'each'>,
    steps: (flow: Flow<Input, Item>) => Steps<Out>,
  ): Flow<Input, Out[]>
  /** The same for each chunk of a data set of any size, of which nothing is kept. Gives the number of items. */
  batch<Item>(name: string, options: BatchOptions<Input, Value, Item>): Flow<Input, { items: number }>
  /** Waits for a client to approve. Gives the value, unchanged. */
  approve<Refused = never>(
    name: string,
    options?: ApproveOptions<Input, Value, Refused>,
  ): Flow<Input, Value | NoInfer<Refused>>
  /** Waits for the answer of a client: of a person, or of a program that reports an event. */
  ask<Out = unknown>(name: string, options?: AskOptions<Input, Value, Out>): Flow<Input, NoInfer<Out>>
  /**
   * Waits, and gives the value, unchanged.
   * @param until milliseconds from now, or a time, or a function that gives one of them.
   */
  wait(name: string, until: number | Date | ((value: Value, input: Input) => number | Date)): Flow<Input, Value>
}

type AnyOptions = { readonly [name: string]: unknown }

const STEP_OPTIONS: { readonly [name: string]: OptionKind } = {
  retry: 'an object',
  timeoutMs: 'a number',
  recover: 'a function',
  branch: 'true or false',
}
const ACTOR_OPTIONS: { readonly [name: string]: OptionKind } = {
  ...STEP_OPTIONS,
  input: 'a function',
  output: 'a function',
  streaming: 'true or false',
}
const MAP_OPTIONS: { readonly [name: string]: OptionKind } = {
  over: 'a function',
  each: 'a function',
  chunk: 'a number',
  concurrency: 'a number',
}
const BATCH_OPTIONS: { readonly [name: string]: OptionKind } = {
  ...MAP_OPTIONS,
  total: 'a function',
  from: 'a function',
}
const QUESTION_OPTIONS: { readonly [name: string]: OptionKind } = {
  prompt: 'anything',
  expiresMs: 'a number',
  who: 'a function',
}

/** A flow without steps. */
export const EMPTY_FLOW: Flow<never, never> = builder([])

/** Makes the steps of a function that adds them to an empty flow. */
export function nodesFrom(of: string, steps: (flow: Flow<never, never>) => unknown): FlowNodes {
  const made = (steps as (flow: unknown) => unknown)(EMPTY_FLOW)
  return nodesIn(of, made)
}

function nodesIn(of: string, made: unknown): FlowNodes {
  const nodes = (made as { nodes?: FlowNodes } | undefined)?.nodes
  if (!Array.isArray(nodes) || nodes.length === 0)
    throw new MillraceError('bad_request', `${of} needs at least one step: return flow.step(...)`)
  return nodes as FlowNodes
}

function builder(nodes: FlowNodes): Flow<never, never> {
  const add = (node: FlowNode): unknown => {
    checkName(node.name, nodes)
    return builder([...nodes, node])
  }
  const flow = {
    nodes,
    step: (name: string, run: unknown, options: AnyOptions = {}) => add(stepNode(name, run, options)),

    parallel: (name: string, branches: (flow: unknown) => object, options: AnyOptions = {}) => {
      checkOptions(`step ${name}`, options, { recover: 'a function' })
      return add({ type: 'parallel', name, branches: waysOf(name, branches), recover: options['recover'] as never })
    },

    route: (name: string, by: unknown, cases: (flow: unknown) => object) => {
      if (typeof by !== 'function') throw wrong(name, 'a function that names the way')
      return add({ type: 'route', name, by: by as never, cases: waysOf(name, cases) })
    },

    loop: (name: string, steps: (flow: unknown) => unknown, options: AnyOptions) => {
      checkOptions(`step ${name}`, options, { until: 'a function', max: 'a number' })
      const { until, max = 10 } = options
      if (typeof until !== 'function') throw wrong(name, '`until`, a function')
      return add({
        type: 'loop',
        name,
        steps: within(name, steps),
        until: until as never,
        max: count(name, 'max', max),
      })
    },

    map: (name: string, options: AnyOptions, steps?: (flow: unknown) => unknown) => {
      checkOptions(`step ${name}`, options, MAP_OPTIONS)
      const { over, each, chunk = 100, concurrency = 4 } = options
      if (typeof over !== 'function' || (typeof each === 'function') === (steps !== undefined))
        throw wrong(name, '`over`, a function, and either `each` or steps')
      return add({
        type: 'map',
        name,
        over: over as () => Items,
        each: steps ? within(name, steps) : { run: each as never },
        chunk: count(name, 'chunk', chunk),
        concurrency: count(name, 'concurrency', concurrency),
      })
    },

    batch: (name: string, options: AnyOptions) => {
      checkOptions(`step ${name}`, options, BATCH_OPTIONS)
      const { over, each, from, total, chunk = 100, concurrency = 1 } = options
      if (typeof over !== 'function' || typeof each !== 'function') throw wrong(name, '`over` and `each`, functions')
      return add({
        type: 'batch',
        name,
        over: over as () => Items,
        from: from as never,
        total: total as never,
        each: each as never,
        chunk: count(name, 'chunk', chunk),
        concurrency: count(name, 'concurrency', concurrency),
      })
    },

    approve: (name: string, options: AnyOptions = {}) => {
      checkOptions(`step ${name}`, options, { ...QUESTION_OPTIONS, refused: 'a function' })
      const { refused, ...question } = options
      return add({
        type: 'ask',
        name,
        question: questionOf(name, { ...question, kind: 'confirm' }),
        then: (value, answer) => approvedValue(value, answer, refused as never),
      })
    },

    ask: (name: string, options: AnyOptions = {}) => {
      const kinds = { ...QUESTION_OPTIONS, kind: 'a string', schema: 'anything', then: 'a function' } as const
      checkOptions(`step ${name}`, options, kinds)
      const { then = (_: unknown, answer: unknown) => answer, ...question } = options
      return add({ type: 'ask', name, question: questionOf(name, question), then: then as never })
    },

    wait: (name: string, until: unknown) => {
      const isFunction = typeof until === 'function'
      if (!isFunction && !(until instanceof Date) && !(Number(until) >= 0))
        throw wrong(name, 'milliseconds, a Date, or a function that gives one of them')
      return add({ type: 'sleep', name, until: isFunction ? (until as never) : () => until as number | Date })
    },
  }
  return flow as unknown as Flow<never, never>
}

function stepNode(name: string, run: unknown, options: AnyOptions): FlowNode {
  const isFunction = typeof run === 'function'
  if (!isFunction && !isActor(run)) throw wrong(name, 'a function, or an actor')
  checkOptions(`step ${name}`, options, isFunction ? STEP_OPTIONS : ACTOR_OPTIONS)
  const { retry, timeoutMs, recover, input, output, streaming = true, branch = false } = options
  checkRetry(name, retry as RetryPolicy | undefined)
  if (timeoutMs !== undefined && !((timeoutMs as number) > 0)) throw wrong(name, 'a `timeoutMs` above 0')
  const body: StepBody = isFunction
    ? { run: run as never, isBranch: branch === true }
    : { actor: run, input: input as never, output: output as never, streaming: streaming === true }
  return { type: 'step', name, body, retry: retry as never, timeoutMs: timeoutMs as never, recover: recover as never }
}

function isActor(thing: unknown): thing is Actor {
  return typeof thing === 'object' && thing !== null && 'interactive' in thing && ('stream' in thing || 'ask' in thing)
}

/** Named ways through a step. */
function waysOf(name: string, make: (flow: unknown) => object): { readonly [way: string]: FlowNodes } {
  const ways = Object.entries(make(EMPTY_FLOW))
  if (ways.length === 0) throw wrong(name, 'at least one branch')
  for (const [way] of ways) checkName(way, [])
  return Object.fromEntries(ways.map(([way, steps]) => [way, nodesIn(`branch ${way} of step ${name}`, steps)]))
}

function within(name: string, make: (flow: unknown) => unknown): FlowNodes {
  return nodesIn(`step ${name}`, make(EMPTY_FLOW))
}

function questionOf(name: string, options: AnyOptions): (value: unknown, input: unknown) => Omit<Question, 'call'> {
  const { prompt = name, kind = 'text', ...others } = options
  return (value, input) => ({
    ...others,
    kind: kind as string,
    prompt: typeof prompt === 'function' ? (prompt as (...given: unknown[]) => string)(value, input) : String(prompt),
  })
}

/** The value, if it was approved: with `true`, or with `{ ok: true }`. */
function approvedValue(
  value: unknown,
  answer: unknown,
  refused: ((value: unknown, note: string | undefined) => unknown) | undefined,
): unknown {
  const { ok = answer, note } = Object(answer) as { ok?: unknown; note?: unknown }
  if (ok === true) return value
  const why = typeof note === 'string' ? note : undefined
  if (refused) return refused(value, why)
  throw new MillraceError('forbidden', `it was refused${why === undefined ? '' : `: ${why}`}`)
}

/** @throws MillraceError `bad_request` */
function checkName(name: unknown, neighbours: FlowNodes): void {
  if (typeof name !== 'string' || !NAME.test(name))
    throw new MillraceError(
      'bad_request',
      `a step needs a name of 1 to 64 letters, digits, spaces or _ . : -, not ${JSON.stringify(name)}`,
    )
  if (neighbours.some((other) => other.name === name))
    throw new MillraceError('bad_request', `there are two steps ${name} next to each other: name one differently`)
}

function count(step: string, name: string, given: unknown): number {
  if (Number.isSafeInteger(given) && (given as number) > 0) return given as number
  throw wrong(step, `a whole number above 0 as ${name}, not ${String(given)}`)
}

function wrong(step: string, what: string): MillraceError {
  return new MillraceError('bad_request', `step ${step} needs ${what}`)
}
