import { setMaxListeners } from 'node:events'
import { MillraceError } from '../../protocol/errors.ts'
import type { PlainEvent } from '../../protocol/events.ts'
import type { Actor, ActorContext } from '../actors/actor.ts'
import { retry } from '../streams/retry.ts'
import { isThenable } from '../streams/thenable.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { chunksOf, inOrder } from './chunks.ts'
import type {
  AskNode,
  BatchNode,
  FlowNode,
  FlowNodes,
  LoopNode,
  MapNode,
  ParallelNode,
  RouteNode,
  SleepNode,
  StepBody,
  StepNode,
} from './flow-node.ts'
import type { KeptResults } from './kept-results.ts'
import { retriable } from './retry-policy.ts'
import { stepContext } from './step-context.ts'
import { failureOf, wordsOf } from './step-failure.ts'
import { isGenerator, streamed } from './step-generator.ts'
import { inlined, nodesOf } from './sub-workflow.ts'

/** Where steps are done: in the run of the workflow, or in that of one of its branches. */
type Place = {
  readonly context: ActorContext
  /** What the ids of the steps here begin with. */
  readonly prefix: string
  /** Stops what is done here, with the run or alone. Undefined: only the run stops it. */
  readonly signal: AbortSignal | undefined
}

/** The longest key of a child. A step that is nested deeper does not wait over a restart. */
const MAX_KEY_CHARACTERS = 256

/** Counts the steps whose code is under way. They could not go on in another process. */
type UnderWay = { count: number }

/** One run of a workflow: it does the steps, says where it is, and keeps what they give. */
export class WorkflowRun {
  readonly #input: unknown
  readonly #kept: KeptResults
  readonly #underWay: UnderWay

  /** @param kept what steps have given before, and give from now on. */
  constructor(input: unknown, kept: KeptResults, underWay: UnderWay = { count: 0 }) {
    this.#input = input
    this.#kept = kept
    this.#underWay = underWay
  }

  /** Does all steps, in the run of `context`. */
  run(nodes: FlowNodes, context: ActorContext): Promise<unknown> {
    context.checkpoint(() => (this.#isBusy ? undefined : this.#kept.state))
    return this.#sequence(nodes, this.#input, { context, prefix: '', signal: undefined })
  }

  /** The code of a step is under way. What its children do is for them to say. */
  get #isBusy(): boolean {
    return this.#underWay.count > 0
  }

  async #sequence(nodes: FlowNodes, given: unknown, place: Place): Promise<unknown> {
    let value = given
    for (const node of nodes) value = await this.#step(node, value, place)
    return value
  }

  async #step(node: FlowNode, value: unknown, place: Place): Promise<unknown> {
    const id = place.prefix + node.name
    const recover = node.type === 'step' ? node.recover : undefined
    const instead = recover && ((error: MillraceError) => recover(error, value, this.#input))
    const output = await this.#recovering(id, place, instead, () =>
      this.#named(id, node.name, place, () => this.#perform(node, value, id, place)),
    )
    if (hasSteps(node)) this.#kept.forgetWithin(id)
    return output
  }

  /** Does what has a name. Where it has failed, and was not stopped from outside, `recover` takes its place. */
  async #recovering(
    id: string,
    place: Place,
    recover: ((error: MillraceError) => unknown) | undefined,
    perform: () => Promise<unknown>,
  ): Promise<unknown> {
    try {
      return await perform()
    } catch (error) {
      if (!recover || isStopped(place)) throw error
      try {
        const instead = await this.#busy(() => recover(error as MillraceError))
        this.#kept.add(id, instead)
        return instead
      } catch (thrown) {
        throw isStopped(place) ? thrown : failureOf(thrown, id, place.context.reportError)
      }
    }
  }

  /** Does what has a name, unless that is done already, and says how it begins and ends. */
  async #named(id: string, name: string, place: Place, perform: () => Promise<unknown>): Promise<unknown> {
    const { context } = place
    const kept = this.#kept.find(id)
    if (kept) {
      const { value, isNews } = kept
      if (!isNews) return value
      this.#kept.add(id, value)
      await context.emit({ type: 'step', id, name, status: 'skipped', ...this.#output(place, id, name, value ?? null) })
      return value
    }
    await resumed(place)
    const { runtime } = context
    const begunAt = runtime.now()
    const ms = (): number => Math.round(runtime.now() - begunAt)
    if (this.#kept.tell(id)) await context.emit({ type: 'step', id, name, status: 'start' })
    try {
      // A pause may have come while a slow reader held it back.
      await resumed(place)
      const output = await perform()
      place.signal?.throwIfAborted()
      this.#kept.add(id, output)
      await context.emit({ type: 'step', id, name, status: 'done', ms: ms(), ...this.#output(place, id, name, output) })
      return output
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason
      const failure = failureOf(thrown, id, context.reportError)
      this.#kept.failed(id)
      await context.emit({ type: 'step', id, name, status: 'failed', ms: ms(), error: wordsOf(failure) })
      throw failure
    }
  }

  /** What an event says of a result, as far as it can be sent. */
  #output({ context }: Place, id: string, name: string, output: unknown): { output?: unknown; truncated?: true } {
    if (output === undefined) return {}
    const event: PlainEvent = { type: 'step', id, name, status: 'done', ms: 0, output }
    return context.canEmit(event) ? { output } : { truncated: true }
  }

  #perform(node: FlowNode, value: unknown, id: string, place: Place): Promise<unknown> {
    switch (node.type) {
      case 'step':
        return this.#attempts(node, value, id, place)
      case 'parallel':
        return this.#parallel(node, value, id, place)
      case 'route':
        return this.#route(node, value, id, place)
      case 'loop':
        return this.#loop(node, value, id, place)
      case 'map':
        return this.#map(node, value, id, place)
      case 'batch':
        return this.#batch(node, value, id, place)
      case 'ask':
        return this.#ask(node, value, place)
      case 'sleep':
        return this.#sleep(node, value, id, place)
    }
  }

  // --- one step

  async #attempts(node: StepNode, value: unknown, id: string, place: Place): Promise<unknown> {
    const { name, retry: policy } = node
    if (!policy) return this.#once(node, value, id, 1, place)
    const { context } = place
    let attempt = 0
    let failure: MillraceError | undefined
    const again = async (): Promise<unknown> => {
      attempt++
      if (attempt > 1) {
        await resumed(place)
        this.#kept.tell(id)
        await context.emit({ type: 'step', id, name, status: 'start', attempt })
        await resumed(place)
      }
      try {
        return await this.#once(node, value, id, attempt, place)
      } catch (error) {
        if (isStopped(place)) throw error
        failure = failureOf(error, id, context.reportError)
        throw retriable(failure.cause ?? failure, policy)
      }
    }
    const { delayMs: firstMs = 1_000, maxDelayMs: maxMs = 10_000 } = policy
    const { runtime } = context
    const signal = signalOf(place)
    const attempts = retry(again, { signal, maxRetries: policy.attempts - 1, firstMs, maxMs, runtime })
    try {
      for (;;) {
        const step = await attempts.next()
        if (step.done) return step.value
        const { delayMs: retryMs } = step.value
        const error = wordsOf(failure as MillraceError)
        const tried = attempt > 1 ? { attempt } : {}
        // Another process begins with the first attempt, and says so.
        this.#kept.failed(id)
        await context.emit({ type: 'step', id, name, status: 'failed', error, ...tried, retryMs })
      }
    } catch (error) {
      throw isStopped(place) ? error : (failure ?? error)
    }
  }

  async #once(node: StepNode, value: unknown, id: string, attempt: number, place: Place): Promise<unknown> {
    const { timeoutMs, retry: policy, name, body } = node
    if (timeoutMs === undefined && !policy) return this.#body(body, value, { id, name, attempt }, place)
    const { context } = place
    const over = new AbortController()
    const outer = signalOf(place)
    const signal = AbortSignal.any([outer, over.signal])
    // It may stop any number of requests, calls and children.
    setMaxListeners(0, signal)
    const late = (): void => {
      // A stop waits for the code that it stops, so that its receipt is true.
      if (!outer.aborted) over.abort(new MillraceError('timeout', `it took longer than ${timeoutMs} ms`))
    }
    const timer = timeoutMs === undefined ? undefined : context.runtime.setTimer(timeoutMs, late)
    try {
      const work = this.#body(body, value, { id, name, attempt }, { ...place, signal })
      // The next attempt begins the child anew, by the same key: this one has ended then.
      if ('actor' in body || body.isBranch) await work.catch(() => {})
      return await untilAborted(work, over.signal)
    } catch (error) {
      // What it has left under way would go on beside the next attempt.
      over.abort(error)
      throw error
    } finally {
      timer?.clear()
    }
  }

  async #body(
    body: StepBody,
    value: unknown,
    step: { id: string; name: string; attempt: number },
    place: Place,
  ): Promise<unknown> {
    if ('actor' in body) return this.#actor(body, value, step.id, place)
    if (body.isBranch) return this.#branch(step.id, place, (inner) => this.#code(body, value, step, inner))
    return this.#code(body, value, step, place)
  }

  async #code(
    body: Exclude<StepBody, { actor: Actor }>,
    value: unknown,
    step: { id: string; name: string; attempt: number },
    place: Place,
  ): Promise<unknown> {
    return this.#busy(() => {
      const running = body.run(value, stepContext(place.context, this.#input, step, place.signal))
      return isGenerator(running) ? streamed(running, place) : running
    })
  }

  /** Does what could not go on in another process. */
  async #busy<T>(work: () => T | Promise<T>): Promise<T> {
    this.#underWay.count++
    try {
      const running = work()
      return isThenable(running) ? await running : running
    } finally {
      this.#underWay.count--
    }
  }

  async #actor(
    { actor, input, output, streaming }: Extract<StepBody, { actor: Actor }>,
    value: unknown,
    id: string,
    place: Place,
  ): Promise<unknown> {
    const answer = await this.#answer(actor, input ? input(value, this.#input) : value, streaming, id, place)
    return output ? output(answer, value) : answer
  }

  async #answer(actor: Actor, given: unknown, streaming: boolean, id: string, place: Place): Promise<unknown> {
    const checked = inlined(actor, given)
    const sub = await (place.signal ? untilAborted(checked, place.signal) : checked)
    if (sub) {
      const within = new WorkflowRun(sub.input, this.#kept, this.#underWay)
      return this.#branch(id, place, (inner) => within.#within(sub.nodes, inner))
    }
    const child = place.context.spawn(actor, given, { name: id, key: keyOf(id), signal: place.signal })
    if (streaming) for await (const event of child) await place.context.emit(event)
    return child.result
  }

  /** The steps of a workflow that is a step of another one. */
  #within(nodes: FlowNodes, place: Place): Promise<unknown> {
    return this.#sequence(nodes, this.#input, place)
  }

  /** A child run in which steps are done: clients can stop it, pause it and read it alone. */
  async #branch(
    id: string,
    { context, signal }: Pick<Place, 'context' | 'signal'>,
    perform: (place: Place) => Promise<unknown>,
  ): Promise<unknown> {
    let result: unknown
    let failure: { error: unknown } | undefined
    const isBusy = (): boolean => this.#isBusy
    const branch: Actor = {
      description: undefined,
      interactive: false,
      input: undefined,
      ask: undefined,
      async *stream(_, inner) {
        yield* []
        // Its results are among those of the run.
        inner.checkpoint(() => (isBusy() ? undefined : {}))
        try {
          result = await perform({ context: inner, prefix: `${id}/`, signal: undefined })
        } catch (error) {
          failure = { error }
          throw error
        }
      },
    }
    const child = context.spawn(branch, undefined, { name: id, key: keyOf(id), signal })
    try {
      for await (const event of child) await context.emit(event)
      await child.result
    } catch (error) {
      // What failed in it says more than its end does.
      throw failure && !MillraceError.is(error, 'cancelled') ? failure.error : error
    }
    return result
  }

  // --- several steps

  async #parallel(node: ParallelNode, value: unknown, id: string, place: Place): Promise<unknown> {
    const { branches, recover } = node
    const siblings = new AbortController()
    const signal = AbortSignal.any([signalOf(place), siblings.signal])
    let failure: { error: unknown } | undefined
    const one = async (name: string, nodes: FlowNodes): Promise<unknown> => {
      const branchId = `${id}/${name}`
      const inside = { ...place, signal }
      const instead = recover && ((error: MillraceError) => recover(error, name, value))
      try {
        return await this.#recovering(branchId, inside, instead, () =>
          this.#named(branchId, name, inside, () =>
            this.#branch(branchId, inside, (inner) => this.#sequence(nodes, value, inner)),
          ),
        )
      } catch (error) {
        failure ??= { error }
        siblings.abort(new MillraceError('cancelled', `a sibling of ${branchId} failed`))
        return undefined
      }
    }
    const names = Object.keys(branches)
    const results = await Promise.all(names.map((name) => one(name, branches[name] as FlowNodes)))
    if (failure) throw failure.error
    return Object.fromEntries(names.map((name, at) => [name, results[at]]))
  }

  async #route({ by, cases }: RouteNode, value: unknown, id: string, place: Place): Promise<unknown> {
    const way = by(value, this.#input)
    const chosen = Object.hasOwn(cases, way) ? way : Object.hasOwn(cases, 'else') ? 'else' : undefined
    for (const name of Object.keys(cases)) {
      const wayId = `${id}/${name}`
      if (name !== chosen && this.#kept.tell(wayId))
        await place.context.emit({ type: 'step', id: wayId, name, status: 'skipped' })
    }
    if (chosen === undefined)
      throw new MillraceError(
        'actor_failed',
        `there is no way ${JSON.stringify(way)}; ways: ${Object.keys(cases).join(', ')}`,
      )
    const inside = { ...place, prefix: `${id}/${chosen}/` }
    return this.#named(`${id}/${chosen}`, chosen, place, () =>
      this.#sequence(cases[chosen] as FlowNodes, value, inside),
    )
  }

  async #loop({ name, steps, until, max }: LoopNode, given: unknown, id: string, place: Place): Promise<unknown> {
    let value = given
    // Only the last iteration is kept.
    for (let n = Math.max(1, this.#kept.position(id)); n <= max; n++) {
      const turn = `${id}[${n}]`
      value = await this.#named(turn, name, place, () => this.#sequence(steps, value, { ...place, prefix: `${turn}/` }))
      this.#kept.forgetWithin(turn)
      this.#kept.forget(`${id}[${n - 1}]`)
      this.#kept.moveTo(id, n)
      if (until(value, n, this.#input)) return value
    }
    throw new MillraceError('max_iterations', `it was not over after ${max} iterations`)
  }

  async #map(node: MapNode, value: unknown, id: string, place: Place): Promise<unknown> {
    const { name, over, each, chunk, concurrency } = node
    const signal = signalOf(place)
    const items = over(value, this.#input, signal)
    const total = Array.isArray(items) ? items.length : undefined
    const results: unknown[] = []
    for await (const part of chunksOf(items, chunk, signal)) {
      const from = results.length
      const partId = `${id}[${from}..${from + part.length - 1}]`
      const before = this.#kept.find(partId)
      const given = await this.#named(partId, name, place, async () => {
        const own: unknown[] = []
        await inOrder(
          part,
          concurrency,
          signal,
          (item, at, itemSignal) =>
            this.#item(each, item, `${id}[${from + at}]`, name, { ...place, signal: itemSignal }),
          (result) => void own.push(result),
        )
        return own
      })
      if (isNodes(each)) this.#kept.forgetItems(id)
      for (const result of given as unknown[]) results.push(result)
      // Behind a restart, readers know of what was done before it.
      if (!before || before.isNews) await this.#progress(place, { id, name }, results.length, total)
    }
    return results
  }

  async #item(each: MapNode['each'], item: unknown, id: string, name: string, place: Place): Promise<unknown> {
    if (isNodes(each)) return this.#sequence(each, item, { ...place, prefix: `${id}/` })
    await resumed(place)
    return this.#body(each, item, { id, name, attempt: 1 }, place)
  }

  async #batch(node: BatchNode, value: unknown, id: string, place: Place): Promise<unknown> {
    const { name, over, from, each, chunk, concurrency } = node
    const done = this.#kept.position(id)
    const total = node.total?.(value, this.#input)
    const seeks = done > 0 && from !== undefined
    const signal = signalOf(place)
    const items = seeks ? from(value, done, signal) : over(value, this.#input, signal)
    const known = total ?? (Array.isArray(items) ? items.length + (seeks ? done : 0) : undefined)
    let count = done
    const chunks = chunksOf(items, chunk, signal, seeks ? 0 : done)
    await inOrder(
      chunks,
      concurrency,
      signal,
      async (part, at, partSignal) => {
        const inside = { ...place, signal: partSignal }
        await resumed(inside)
        const step = { id: `${id}[${done + at * chunk}]`, name, attempt: 1 }
        await this.#body({ run: (given, context) => each(given as unknown[], context) }, part, step, inside)
        return part.length
      },
      async (length) => {
        count += length
        this.#kept.moveTo(id, count)
        await this.#progress(place, { id, name }, count, known)
      },
    )
    return { items: count }
  }

  #progress(
    { context }: Place,
    { id, name }: { id: string; name: string },
    current: number,
    total: number | undefined,
  ): Promise<number> {
    return context.emit({
      type: 'progress',
      current,
      ...(total !== undefined && { total }),
      message: name,
      step: id,
    })
  }

  // --- waits

  async #ask({ question, then }: AskNode, value: unknown, { context, signal }: Place): Promise<unknown> {
    const answer = await context.request({ ...question(value, this.#input), ...(signal && { signal }) })
    return then(value, answer)
  }

  async #sleep({ until }: SleepNode, value: unknown, id: string, { context, signal }: Place): Promise<unknown> {
    const asked = until(value, this.#input)
    const time = asked instanceof Date ? asked.getTime() : context.runtime.wallClock() + asked
    if (!Number.isFinite(time)) throw new MillraceError('bad_event', 'a wait needs milliseconds, or a valid Date')
    const waited = context.sleepUntil(this.#kept.timeOf(id, time))
    await (signal ? untilAborted(waited, signal) : waited)
    return value
  }
}

/** The key of a child, by which it is found again after a restart. */
function keyOf(id: string): string | undefined {
  return id.length <= MAX_KEY_CHARACTERS ? id : undefined
}

/** What stops the code that is done at a place: the run, at least. */
function signalOf({ context, signal }: Place): AbortSignal {
  return signal ?? context.signal
}

/** Waits while a pause holds, unless what is done here is stopped meanwhile. */
function resumed({ context, signal }: Place): Promise<void> {
  return signal ? untilAborted(context.resumed(), signal) : context.resumed()
}

function isStopped({ context, signal }: Place): boolean {
  return context.signal.aborted || signal?.aborted === true
}

/** Whether there are steps within a step, of which it keeps what they give until it has finished. */
function hasSteps(node: FlowNode): boolean {
  return node.type !== 'step' || ('actor' in node.body && nodesOf(node.body.actor) !== undefined)
}

function isNodes(each: MapNode['each']): each is FlowNodes {
  return Array.isArray(each)
}
