import { type Attributes, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { MillraceError } from '../../../protocol/errors.ts'
import { type Actor, type ActorContext, actor, agent, agentTool, tool } from '../../../server/index.ts'
import { openTelemetry } from '../../../server/tracing/opentelemetry.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'
import { counter, latch, silent } from '../../helpers/test-actors.ts'

/** A span, with the names of those above it. */
type Shown = { name: string; path: string; kind: SpanKind; status: SpanStatusCode; attributes: Attributes }

function traced() {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  return {
    tracing: openTelemetry({ tracer: provider.getTracer('test') }),
    exporter,
    /** The spans that have ended, in the order in which they did. */
    get spans(): Shown[] {
      const all = exporter.getFinishedSpans()
      const byId = new Map(all.map((span) => [span.spanContext().spanId, span]))
      const pathOf = (id: string | undefined): string[] => {
        const span = id === undefined ? undefined : byId.get(id)
        return span ? [...pathOf(span.parentSpanContext?.spanId), span.name] : []
      }
      return all.map((span) => ({
        name: span.name,
        path: pathOf(span.spanContext().spanId).join(' > '),
        kind: span.kind,
        status: span.status.code,
        attributes: span.attributes,
      }))
    },
  }
}

function named(spans: readonly Shown[], name: string): Shown {
  const found = spans.find((span) => span.name === name)
  if (!found) throw new Error(`no span ${name}; there are ${spans.map((span) => span.name).join(', ')}`)
  return found
}

/** Starts an actor, reads it to its end, and closes. */
async function runOf<Actors extends Record<string, Actor>>(
  actors: Actors,
  name: keyof Actors & string,
  options: { tracing: ReturnType<typeof openTelemetry>; meta?: Record<string, string>; cancelled?: boolean },
): Promise<void> {
  await using served = await testServer(actors, { tracing: options.tracing })
  const client = createClient(served.url, { token: 'alice', ...served.reach })
  const run = client.start(name as never, 'canary-input', options.meta ? { meta: options.meta } : {})
  await run.opened
  if (options.cancelled) await run.cancel()
  await run.end
  await client.close()
}

const weather = tool({ description: 'The weather.', run: () => 'canary-output' })
const failing = tool({
  description: 'Fails.',
  run: () => {
    throw new Error('canary-error')
  },
})

describe('openTelemetry()', () => {
  test('makes spans of a tool loop with the names of the conventions, each within the one that it is part of', async () => {
    const trace = traced()
    const model = {
      ...scriptedModel(calls({ call: 'c1', name: 'weather', args: { city: 'canary-args' } }), says('canary-text')),
    }
    await runOf({ chat: agent({ model, tools: { weather } }) }, 'chat', trace)
    const { spans } = trace
    expect(spans.map(({ path }) => path).sort()).toEqual([
      'invoke_agent chat',
      'invoke_agent chat > turn 1',
      'invoke_agent chat > turn 1 > chat scripted',
      'invoke_agent chat > turn 1 > execute_tool weather',
      'invoke_agent chat > turn 2',
      'invoke_agent chat > turn 2 > chat scripted',
    ])
    expect(named(spans, 'invoke_agent chat')).toMatchObject({
      kind: SpanKind.INTERNAL,
      status: SpanStatusCode.UNSET,
      attributes: {
        'gen_ai.operation.name': 'invoke_agent',
        'gen_ai.agent.name': 'chat',
        'gen_ai.usage.input_tokens': 20,
        'gen_ai.usage.output_tokens': 7,
        'millrace.run.id': expect.stringMatching(/^r_/) as string,
        'millrace.outcome': 'done',
      },
    })
    expect(named(spans, 'chat scripted')).toMatchObject({
      kind: SpanKind.CLIENT,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'demo',
        'gen_ai.request.model': 'scripted',
        'gen_ai.request.stream': true,
        'gen_ai.response.finish_reasons': ['tool_calls'],
        'gen_ai.usage.input_tokens': 10,
        'gen_ai.usage.output_tokens': 5,
      },
    })
    expect(named(spans, 'execute_tool weather')).toMatchObject({
      kind: SpanKind.INTERNAL,
      attributes: {
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': 'weather',
        'gen_ai.tool.call.id': 'c1',
        'gen_ai.tool.type': 'function',
        'millrace.outcome': 'ok',
      },
    })
    expect(JSON.stringify(spans)).not.toContain('canary')
  })

  test('marks a tool that failed, and the run goes on', async () => {
    const trace = traced()
    const model = scriptedModel(calls({ call: 'c1', name: 'failing', args: {} }), says('sorry'))
    await runOf({ chat: agent({ model, tools: { failing } }) }, 'chat', trace)
    expect(named(trace.spans, 'execute_tool failing')).toMatchObject({
      status: SpanStatusCode.ERROR,
      attributes: { 'error.type': 'tool_error', 'millrace.outcome': 'error' },
    })
    expect(named(trace.spans, 'invoke_agent chat').status).toBe(SpanStatusCode.UNSET)
    expect(JSON.stringify(trace.spans)).not.toContain('canary')
  })

  test('marks a request that a provider refused, and the run that fails of it, by their codes alone', async () => {
    const trace = traced()
    const model = scriptedModel([new MillraceError('provider_error', 'canary-words')])
    await runOf({ chat: agent({ model }) }, 'chat', trace)
    for (const name of ['chat scripted', 'invoke_agent chat'])
      expect(named(trace.spans, name)).toMatchObject({
        status: SpanStatusCode.ERROR,
        attributes: { 'error.type': 'provider_error' },
      })
    expect(JSON.stringify(trace.spans)).not.toContain('canary')
  })

  test('marks what was cancelled as that and not as an error, and ends all spans of it', async () => {
    const trace = traced()
    const asked = latch()
    const model = scriptedModel(async function* ({ signal }) {
      yield { type: 'text', text: 'canary' }
      asked.open()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      signal.throwIfAborted()
    })
    await using served = await testServer({ chat: agent({ model }), silent: silent() }, { tracing: trace.tracing })
    const client = createClient(served.url, { token: 'alice', ...served.reach })
    const run = client.start('chat' as never, 'hello')
    await asked.opened
    await run.cancel()
    await run.end
    await client.close()
    for (const name of ['invoke_agent chat', 'chat scripted'])
      expect(named(trace.spans, name)).toMatchObject({
        status: SpanStatusCode.UNSET,
        attributes: { 'millrace.outcome': 'cancelled' },
      })
    expect(trace.spans.map(({ path }) => path)).toContain('invoke_agent chat > turn 1')
  })

  test('has the runs of children within the run, or the tool call, that began them', async () => {
    const trace = traced()
    const expert = agent({ model: scriptedModel(says('deep')) })
    const model = scriptedModel(calls({ call: 'c1', name: 'ask', args: { prompt: 'think' } }), says('done'))
    const boss = agent({ model, tools: { ask: agentTool(expert, { description: 'Asks.' }) } })
    const plain = actor({
      async *stream(_input: unknown, { spawn }: ActorContext) {
        yield* spawn(counter(), 2, { name: 'row' })
      },
    })
    await runOf({ boss, expert, plain }, 'boss', trace)
    expect(trace.spans.map(({ path }) => path)).toContain(
      'invoke_agent boss > turn 1 > execute_tool ask > invoke_agent expert > turn 1 > chat scripted',
    )
    await runOf({ boss, expert, plain }, 'plain', trace)
    expect(trace.spans.map(({ path }) => path)).toContain('invoke_agent plain > invoke_agent row')
  })

  test('goes on with the trace of a client, and takes nothing else for one', async () => {
    const trace = traced()
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
    await runOf({ count: counter() }, 'count', {
      ...trace,
      tracing: trace.tracing,
      meta: { traceparent: `00-${traceId}-${spanId}-01` },
    })
    const [span] = trace.exporter.getFinishedSpans()
    expect([span!.spanContext().traceId, span!.parentSpanContext?.spanId]).toEqual([traceId, spanId])
    for (const traceparent of [
      '',
      `00-${'0'.repeat(32)}-${spanId}-01`,
      `01-${traceId}-${spanId}-01`,
      'x'.repeat(900),
    ]) {
      trace.exporter.reset()
      await runOf({ count: counter() }, 'count', { tracing: trace.tracing, meta: { traceparent } })
      const [own] = trace.exporter.getFinishedSpans()
      expect([own!.spanContext().traceId === traceId, own!.parentSpanContext]).toEqual([false, undefined])
    }
  })

  test('ends the span of a run that waits when its process ends, and the next process has one of its own', async () => {
    const trace = traced()
    const asks = actor({
      async *stream(_input: unknown, { request, checkpoint }: ActorContext) {
        checkpoint(() => ({}))
        yield String(await request({ kind: 'text' }))
      },
    })
    const { begin, stored } = onOneStore({ asks })
    const first = await begin({ tracing: trace.tracing })
    await using client = await first.client()
    client.start(1, 'asks')
    const { run } = await client.next('opened', 1)
    await stored(run, ({ parked }) => parked !== undefined)
    await first.server.close({ drainMs: 1_000 })
    expect(named(trace.spans, 'invoke_agent asks').attributes['millrace.outcome']).toBe('parked')
    await using second = await begin({ tracing: trace.tracing })
    await using again = await second.client()
    again.attach(1, run, 1)
    const [asked] = (await again.next('opened', 1)).pending ?? []
    again.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request: asked?.['request'], value: 'x' } })
    await again.next('end', 1)
    expect(trace.spans.map(({ attributes }) => attributes['millrace.outcome'])).toEqual(['parked', 'done'])
    await first[Symbol.asyncDispose]()
  })

  test('cuts long names, and holds no more open tool calls than it may', async () => {
    const trace = traced()
    const long = 'x'.repeat(10_000)
    const model = scriptedModel(calls({ call: 'c1', name: long, args: {} }), says('done'))
    await runOf({ chat: agent({ model, tools: { weather } }) }, 'chat', trace)
    for (const { name, attributes } of trace.spans) {
      expect(name.length).toBeLessThan(200)
      for (const value of Object.values(attributes)) expect(String(value).length).toBeLessThan(200)
    }
    const spans = trace.tracing.begin({ id: 'r_1', actor: 'chat', parent: undefined, traceparent: undefined })
    trace.exporter.reset()
    for (let n = 0; n < 1_000; n++) spans.logged({ type: 'tool.call', call: `c${n}`, name: 'weather', args: {} })
    spans.ended({ outcome: 'done' })
    expect(trace.exporter.getFinishedSpans()).toHaveLength(257)
  })

  test('harms no run when its tracer throws, at any call', async () => {
    const throwing = new Proxy(
      {},
      {
        get: () => () => {
          throw new Error('the tracer is broken')
        },
      },
    ) as Tracer
    const brokenSpans = { startSpan: () => throwing } as unknown as Tracer
    for (const tracer of [{ startSpan: throwing.startSpan } as Tracer, brokenSpans]) {
      const model = scriptedModel(calls({ call: 'c1', name: 'weather', args: {} }), says('fine'))
      const tracing = openTelemetry({ tracer })
      await using served = await testServer({ chat: agent({ model, tools: { weather } }) }, { tracing })
      expect(await served.server.router.ask('chat', 'hello')).toBe('fine')
      expect(served.errors).toEqual([])
    }
  })

  test('refuses what is no tracer, and a server refuses what is no tracing', async () => {
    expect(() => openTelemetry({ tracer: {} as Tracer })).toThrow(/tracer must be a tracer of OpenTelemetry/)
    expect(() => openTelemetry({ trace: 1 } as never)).toThrow(/did you mean tracer\?/)
    await expect(testServer({ count: counter() }, { tracing: {} as never })).rejects.toThrow(/tracing must be traces/)
  })
})
