import {
  type Attributes,
  type Context,
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { ModelEvent } from '../models/model.ts'
import { excerpt } from '../text.ts'
import { GEN_AI, MILLRACE, OPERATION, PROVIDERS } from './conventions.ts'
import type { ModelTrace, RunTrace, TracedEnd, TracedRun, Tracing } from './tracing.ts'

export type { ModelTrace, RunTrace, TracedEnd, TracedRun, Tracing } from './tracing.ts'

/** The most characters of a name or an id in a span. */
const MAX_CHARACTERS = 128
/** The most tool calls of one run that are open at a time and traced. */
const MAX_OPEN_TOOLS = 256
/** The header of W3C Trace Context. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** The options of `openTelemetry`. */
export type OpenTelemetryOptions = {
  /** Makes the spans. Default: the tracer `millrace` of the tracer provider that is registered globally. */
  tracer?: Tracer | undefined
}

const OPTIONS: OptionKinds<OpenTelemetryOptions> = { tracer: 'anything' }

/**
 * Spans for OpenTelemetry: `createServer({ tracing: openTelemetry() })`. A run, each turn, each request to a model and each
 * tool call have one, with the names of the conventions for generative AI, and without anything that was said. Needs the
 * package `@opentelemetry/api`. Register a tracer provider before the first run; without one, nothing is traced.
 * @throws MillraceError `bad_request` for a wrong option.
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Tracing {
  checkOptions('openTelemetry', options, OPTIONS)
  const { tracer } = options
  if (tracer !== undefined && typeof (tracer as Partial<Tracer>).startSpan !== 'function')
    throw new MillraceError('bad_request', 'tracer must be a tracer of OpenTelemetry: provider.getTracer(name)')
  return { begin: (run) => new RunSpans(() => tracer ?? trace.getTracer('millrace'), run) }
}

/** Makes, changes or ends a span. A tracer that throws harms no run. */
function attempt<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch {
    return undefined
  }
}

/** A span, and where others stand that are part of it. */
type Placed = { readonly span: Span | undefined; readonly context: Context }

/** Begins a span. @param startTime In epoch milliseconds. Default: now. */
type Begin = (name: string, kind: SpanKind, attributes: Attributes, parent: Context, startTime?: number) => Placed

/** The spans of one run. */
class RunSpans implements RunTrace {
  readonly #tracer: () => Tracer
  readonly #span: Span | undefined
  readonly #context: Context
  #turn: Placed | undefined
  /** A request that may be that of the next turn: an agent sends it just before it reports the turn. */
  #unplaced: ModelSpan | undefined
  readonly #tools = new Map<string, Placed>()

  constructor(tracer: () => Tracer, run: TracedRun) {
    this.#tracer = tracer
    const actor = excerpt(run.actor, MAX_CHARACTERS)
    const parent = attempt(() => parentOf(run)) ?? ROOT_CONTEXT
    const attributes = { [GEN_AI.operation]: OPERATION.agent, [GEN_AI.agentName]: actor, [MILLRACE.run]: run.id }
    const { span, context } = this.#begin(`${OPERATION.agent} ${actor}`, SpanKind.INTERNAL, attributes, parent)
    this.#span = span
    this.#context = context
  }

  /** Where a span stands that begins now: in the tool call, in the turn, or in the run. */
  contextOf(call: string | undefined): Context {
    const tool = call === undefined ? undefined : this.#tools.get(call)
    return (tool ?? this.#turn)?.context ?? this.#context
  }

  logged(event: RunEvent): void {
    if (event.type === 'iteration') this.#turnBegan(event.n)
    else if (event.type === 'iteration.end') this.#endTurn()
    else if (event.type === 'tool.call') this.#toolBegan(event.call, event.name)
    else if (event.type === 'tool.result') this.#toolEnded(event.call, event.outcome)
  }

  asks({ id, provider }: { readonly id: string; readonly provider: string }): ModelTrace {
    const model = excerpt(id.startsWith(`${provider}:`) ? id.slice(provider.length + 1) : id, MAX_CHARACTERS)
    const attributes = {
      [GEN_AI.operation]: OPERATION.model,
      [GEN_AI.provider]: Object.hasOwn(PROVIDERS, provider) ? PROVIDERS[provider] : provider,
      [GEN_AI.requestModel]: model,
      [GEN_AI.requestStream]: true,
    }
    this.#placeRequest()
    const request = new ModelSpan(this.#begin, `${OPERATION.model} ${model}`, attributes)
    this.#unplaced = request
    if (this.#turn) this.#placeRequest()
    return request
  }

  #placeRequest(): void {
    this.#unplaced?.place(this.contextOf(undefined))
    this.#unplaced = undefined
  }

  #turnBegan(n: number): void {
    this.#endTurn()
    const attributes = { [MILLRACE.turn]: n }
    this.#turn = this.#begin(`turn ${n}`, SpanKind.INTERNAL, attributes, this.#context, this.#unplaced?.startTime)
    this.#placeRequest()
  }

  ended({ outcome, code, usage }: TracedEnd): void {
    this.#placeRequest()
    // What was stopped with the run logs no result.
    for (const call of [...this.#tools.keys()]) this.#toolEnded(call, 'cancelled')
    this.#endTurn()
    end(this.#span, outcome, outcome === 'error' ? (code ?? '_OTHER') : undefined, usageOf(usage))
  }

  #endTurn(): void {
    end(this.#turn?.span)
    this.#turn = undefined
  }

  #toolBegan(call: string, name: string): void {
    if (this.#tools.size >= MAX_OPEN_TOOLS) return
    const tool = excerpt(name, MAX_CHARACTERS)
    const attributes = {
      [GEN_AI.operation]: OPERATION.tool,
      [GEN_AI.toolName]: tool,
      [GEN_AI.toolCall]: excerpt(call, MAX_CHARACTERS),
      [GEN_AI.toolType]: 'function',
    }
    const parent = this.contextOf(undefined)
    this.#tools.set(call, this.#begin(`${OPERATION.tool} ${tool}`, SpanKind.INTERNAL, attributes, parent))
  }

  #toolEnded(call: string, outcome: 'ok' | 'error' | 'cancelled'): void {
    const tool = this.#tools.get(call)
    this.#tools.delete(call)
    end(tool?.span, outcome, outcome === 'error' ? 'tool_error' : undefined)
  }

  readonly #begin: Begin = (name, kind, attributes, parent, startTime) => {
    const options = { kind, attributes, ...(startTime !== undefined && { startTime }) }
    const span = attempt(() => this.#tracer().startSpan(name, options, parent))
    return { span, context: (span && attempt(() => trace.setSpan(parent, span))) ?? parent }
  }
}

/** The span of one request to a model. */
class ModelSpan implements ModelTrace {
  readonly startTime: number = Date.now()
  readonly #begin: Begin
  readonly #name: string
  readonly #attributes: Attributes
  readonly #askedAt = performance.now()
  #span: Span | undefined
  #isPlaced = false
  #hasSaid = false
  #end: { readonly outcome: string; readonly error: string | undefined; readonly at: number } | undefined

  constructor(begin: Begin, name: string, attributes: Attributes) {
    this.#begin = begin
    this.#name = name
    this.#attributes = attributes
  }

  /** It is known of what it is part. */
  place(parent: Context): void {
    this.#span = this.#begin(this.#name, SpanKind.CLIENT, this.#attributes, parent, this.startTime).span
    this.#isPlaced = true
    this.#finish()
  }

  said(event: ModelEvent): void {
    if (event.type === 'usage') Object.assign(this.#attributes, usageOf(event))
    else if (event.type === 'finish') this.#attributes[GEN_AI.finishReasons] = [event.stop]
    else if (!this.#hasSaid && event.type !== 'retry' && event.type !== 'warning') {
      this.#hasSaid = true
      this.#attributes[GEN_AI.timeToFirstChunk] = (performance.now() - this.#askedAt) / 1_000
    }
  }

  ended({ outcome, code }: Parameters<ModelTrace['ended']>[0]): void {
    const error = outcome === 'error' ? (code ?? '_OTHER') : undefined
    this.#end = { outcome: outcome === 'cut' ? 'cancelled' : outcome, error, at: Date.now() }
    this.#finish()
  }

  #finish(): void {
    if (!this.#isPlaced || !this.#end) return
    const { outcome, error, at } = this.#end
    end(this.#span, outcome, error, this.#attributes, at)
  }
}

/** Ends a span. @param error The code of an error; messages may have what was said. */
function end(span: Span | undefined, outcome?: string, error?: string, attributes: Attributes = {}, at?: number): void {
  if (!span) return
  attempt(() => {
    span.setAttributes(outcome === undefined ? attributes : { ...attributes, [MILLRACE.outcome]: outcome })
    if (error === undefined) return
    span.setAttribute(GEN_AI.errorType, excerpt(error, MAX_CHARACTERS))
    span.setStatus({ code: SpanStatusCode.ERROR })
  })
  attempt(() => span.end(at))
}

function usageOf(usage: Usage | undefined): Attributes {
  if (!usage) return {}
  const { input, output, cached, thinking, cost } = usage
  return {
    [GEN_AI.inputTokens]: input,
    [GEN_AI.outputTokens]: output,
    ...(cached !== undefined && { [GEN_AI.cachedTokens]: cached }),
    ...(thinking !== undefined && { [GEN_AI.thinkingTokens]: thinking }),
    ...(cost !== undefined && { [MILLRACE.cost]: cost }),
  }
}

/** The span above that of a run: of its parent, of its client, or of the code that started it. */
function parentOf({ parent, traceparent }: TracedRun): Context {
  if (parent) return parent.trace instanceof RunSpans ? parent.trace.contextOf(parent.call) : ROOT_CONTEXT
  const [, traceId = '', spanId = '', flags = ''] =
    (typeof traceparent === 'string' && TRACEPARENT.exec(traceparent)) || []
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return isSpanContextValid(remote) ? trace.setSpanContext(ROOT_CONTEXT, remote) : context.active()
}
