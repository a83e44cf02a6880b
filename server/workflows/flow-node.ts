import type { MillraceError } from '../../protocol/errors.ts'
import type { Actor } from '../actors/actor.ts'
import type { Question } from '../actors/question.ts'
import type { RetryPolicy } from './retry-policy.ts'
import type { StepContext } from './step-context.ts'

/** What a function is given besides the value of the step before it. */
type Given = StepContext

/** The code of a step: a function, which may be a generator that streams, or another actor. */
export type StepBody =
  | {
      readonly run: (value: unknown, context: Given) => unknown
      /** Whether it is done in a child run of its own. Default false. */
      readonly isBranch?: boolean
    }
  | {
      readonly actor: Actor
      /** Makes the input of the actor. Default: the value itself. */
      readonly input: ((value: unknown, input: unknown) => unknown) | undefined
      /** Makes the result. Default: what the actor answers. */
      readonly output: ((answer: unknown, value: unknown) => unknown) | undefined
      /** Whether its events are passed on, and not only its result is awaited. */
      readonly streaming: boolean
    }

/** Takes the place of what a step, or one branch, would have given. */
export type Recover = (error: MillraceError, value: unknown, input: unknown) => unknown

/** One piece of code with a name. */
export type StepNode = {
  readonly type: 'step'
  readonly name: string
  readonly body: StepBody
  readonly retry: RetryPolicy | undefined
  readonly timeoutMs: number | undefined
  readonly recover: Recover | undefined
}

/** Branches that run at the same time, each as a child run. Its result has one member for each. */
export type ParallelNode = {
  readonly type: 'parallel'
  readonly name: string
  readonly branches: { readonly [name: string]: FlowNodes }
  readonly recover: ((error: MillraceError, branch: string, value: unknown) => unknown) | undefined
}

/** One of several ways, chosen by the value. */
export type RouteNode = {
  readonly type: 'route'
  readonly name: string
  readonly by: (value: unknown, input: unknown) => string
  readonly cases: { readonly [name: string]: FlowNodes }
}

/** The same steps again and again, each time with what they gave. */
export type LoopNode = {
  readonly type: 'loop'
  readonly name: string
  readonly steps: FlowNodes
  readonly until: (value: unknown, n: number, input: unknown) => boolean
  readonly max: number
}

/** The same for each item of a data set. The results are kept, in the order of the items. */
export type MapNode = {
  readonly type: 'map'
  readonly name: string
  readonly over: (value: unknown, input: unknown, signal: AbortSignal) => Items
  /** What is done with one item: a body, or steps of its own. */
  readonly each: StepBody | FlowNodes
  readonly chunk: number
  readonly concurrency: number
}

/** The same for each chunk of a data set of any size. Only the number of items is kept. */
export type BatchNode = {
  readonly type: 'batch'
  readonly name: string
  readonly over: (value: unknown, input: unknown, signal: AbortSignal) => Items
  /** Gives the items behind the first `done` ones. Default: those of `over` are read and left out. */
  readonly from: ((value: unknown, done: number, signal: AbortSignal) => Items) | undefined
  readonly total: ((value: unknown, input: unknown) => number | undefined) | undefined
  readonly each: (items: readonly unknown[], context: Given) => unknown
  readonly chunk: number
  readonly concurrency: number
}

/** A wait for an answer of a client. */
export type AskNode = {
  readonly type: 'ask'
  readonly name: string
  readonly question: (value: unknown, input: unknown) => Omit<Question, 'call' | 'signal'>
  readonly then: (value: unknown, answer: unknown) => unknown
}

/** A wait for a point in time. */
export type SleepNode = {
  readonly type: 'sleep'
  readonly name: string
  /** Milliseconds from its beginning, or a time. */
  readonly until: (value: unknown, input: unknown) => number | Date
}

/** One step of a workflow, with the steps inside it. */
export type FlowNode = StepNode | ParallelNode | RouteNode | LoopNode | MapNode | BatchNode | AskNode | SleepNode

/** Steps that follow one another. Each is given what the one before it gave. */
export type FlowNodes = readonly FlowNode[]

/** Data that is read piece by piece. */
export type Items = Iterable<unknown> | AsyncIterable<unknown>
