import { MillraceError } from '../../protocol/errors.ts'
import type { Actor } from '../actors/actor.ts'
import type { InferInput, StandardSchema } from '../actors/standard-schema.ts'
import { type ActorStepData, type ConditionData, readDefinition, type StepData } from './definition.ts'
import { EMPTY_FLOW } from './flow.ts'
import type { FlowNodes } from './flow-node.ts'
import { checkTemplate, filled, type Named } from './template.ts'
import { workflowOf } from './workflow.ts'

/** The deepest nesting of a definition, and the most values: far more than anybody draws. */
const MAX_DEPTH = 64
const MAX_VALUES = 32_000

/** A flow whose types nobody knows: its steps come from data. */
type AnyFlow = { readonly nodes: FlowNodes } & {
  readonly [method in 'step' | 'parallel' | 'route' | 'loop' | 'map' | 'approve' | 'ask' | 'wait']: (
    name: string,
    ...given: unknown[]
  ) => AnyFlow
}

/** Options of `workflowFromData`. */
export type FromDataOptions<Schema extends StandardSchema | undefined> = {
  /** The actors that its steps may name. A definition reaches no other. */
  actors: { readonly [name: string]: Actor }
  /** Checks and transforms the input. Default: the input is `unknown`. */
  input?: Schema | undefined
}

/**
 * Makes a workflow of a definition that is data, such as parsed JSON. `docs/workflows.md` describes its form. It is
 * checked completely, and it contains no code: references such as `{{value.title}}` only read.
 * @throws MillraceError `bad_request` for data that is no definition, with the path to each problem; for a step whose
 * actor is not among `actors`; and as `workflow` does.
 */
export function workflowFromData<const Schema extends StandardSchema | undefined = undefined>(
  definition: unknown,
  options: FromDataOptions<Schema>,
): Actor<InferInput<Schema>, unknown, never> {
  checkSize(definition)
  const { steps, description, name } = readDefinition(definition)
  const flow = new Compiler(options.actors).flow(steps)
  return workflowOf(flow.nodes, { description: description ?? name, input: options.input }) as never
}

/** Makes steps of data. */
class Compiler {
  readonly #actors: { readonly [name: string]: Actor }

  constructor(actors: { readonly [name: string]: Actor }) {
    this.#actors = actors
  }

  flow(steps: readonly StepData[]): AnyFlow {
    const counts = new Map<string, number>()
    return steps.reduce<AnyFlow>(
      (flow, step) => this.#add(flow, step, nameOf(step, counts)),
      EMPTY_FLOW as unknown as AnyFlow,
    )
  }

  #add(flow: AnyFlow, step: StepData, name: string): AnyFlow {
    switch (step.type) {
      case 'actor':
        return this.#actor(flow, step, name)
      case 'parallel':
        return flow.parallel(name, () => this.#ways(step.branches))
      case 'route': {
        checkTemplate(`step ${name}`, step.by)
        return flow.route(
          name,
          (value: unknown, input: unknown) => String(filled(step.by, { value, input })),
          () => this.#ways(step.cases),
        )
      }
      case 'loop': {
        checkTemplate(`step ${name}`, step.until)
        const { max } = step
        return flow.loop(name, () => this.flow(step.steps), {
          until: (value: unknown, _: number, input: unknown) => holds(step.until, { value, input }),
          ...(max !== undefined && { max }),
        })
      }
      case 'map': {
        checkTemplate(`step ${name}`, step.over)
        const { chunk, concurrency } = step
        const over = (value: unknown, input: unknown): unknown[] =>
          listOf(filled(step.over, { value, input }), step.over)
        return flow.map(name, { over, chunk, concurrency }, () => this.flow(step.steps))
      }
      case 'approve':
      case 'ask': {
        checkTemplate(`step ${name}`, step.prompt)
        const { type, name: _, prompt = name, ...others } = step
        return flow[type](name, {
          ...others,
          prompt: (value: unknown, input: unknown) => String(filled(prompt, { value, input })),
        })
      }
      case 'wait':
        return this.#wait(flow, step, name)
    }
  }

  #actor(flow: AnyFlow, step: ActorStepData, name: string): AnyFlow {
    const { actorType, streaming = false, retry, timeoutMs } = step
    const actor = Object.hasOwn(this.#actors, actorType) ? this.#actors[actorType] : undefined
    if (!actor) {
      const known = Object.keys(this.#actors).join(', ') || 'none'
      throw new MillraceError('bad_request', `step ${name}: unknown actor ${actorType}; known actors: ${known}`)
    }
    checkTemplate(`step ${name}`, [step.input, step.recover])
    return flow.step(name, actor, {
      ...('input' in step && { input: (value: unknown, input: unknown) => filled(step.input, { value, input }) }),
      ...('recover' in step && {
        recover: (_: unknown, value: unknown, input: unknown) => filled(step.recover, { value, input }),
      }),
      streaming,
      retry,
      timeoutMs,
    })
  }

  #wait(flow: AnyFlow, { ms, until }: Extract<StepData, { type: 'wait' }>, name: string): AnyFlow {
    if ((ms === undefined) === (until === undefined))
      throw new MillraceError('bad_request', `step ${name} needs either ms or until`)
    if (until === undefined) return flow.wait(name, ms)
    checkTemplate(`step ${name}`, until)
    return flow.wait(name, (value: unknown, input: unknown) => new Date(String(filled(until, { value, input }))))
  }

  #ways(ways: { readonly [name: string]: StepData[] }): { [name: string]: AnyFlow } {
    return Object.fromEntries(Object.entries(ways).map(([way, steps]) => [way, this.flow(steps)]))
  }
}

/** An actor's step may have no name of its own. */
function nameOf(step: StepData, counts: Map<string, number>): string {
  if (step.name !== undefined) return step.name
  const { actorType } = step as ActorStepData
  const n = (counts.get(actorType) ?? 0) + 1
  counts.set(actorType, n)
  return n === 1 ? actorType : `${actorType} ${n}`
}

function holds({ value: reference, is }: ConditionData, named: Named): boolean {
  const value = filled(reference, named)
  if (is === undefined) return Boolean(value)
  return value === is || JSON.stringify(value) === JSON.stringify(filled(is, named))
}

function listOf(value: unknown, reference: string): unknown[] {
  if (Array.isArray(value)) return value
  throw new MillraceError('bad_request', `${reference} is no list`)
}

/** A definition may come from anywhere: one that is nested without end must not cost a stack, or the time to check it. */
function checkSize(definition: unknown): void {
  let values = 0
  const visit = (value: unknown, depth: number): void => {
    if (++values > MAX_VALUES || depth > MAX_DEPTH)
      throw new MillraceError('bad_request', `a definition has at most ${MAX_VALUES} values, nested ${MAX_DEPTH} deep`)
    if (typeof value === 'object' && value !== null) for (const one of Object.values(value)) visit(one, depth + 1)
  }
  visit(definition, 0)
}
