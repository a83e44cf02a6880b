import { MockLanguageModelV3 } from 'ai/test'
import { sseEvents } from '../../server/streams/sse.ts'

type DoStream = MockLanguageModelV3['doStream']
type Options = Parameters<DoStream>[0]
type Part = Awaited<ReturnType<DoStream>>['stream'] extends ReadableStream<infer P> ? P : never

/**
 * A language model of the AI SDK that asks the fake provider for chat completions, as the packages of providers do: it
 * passes the signal to `fetch`, throws an error with the status of a response, and reads the answer on demand.
 */
export function sdkModel(name: string, host: string, apiKey: string): MockLanguageModelV3 {
  return new MockLanguageModelV3({
    provider: 'sdk',
    modelId: name,
    doStream: async ({ prompt, tools, abortSignal }) => {
      const body = {
        model: name,
        stream: true,
        messages: prompt.flatMap(toChat),
        ...(tools && {
          tools: tools.map((tool) => {
            if (tool.type !== 'function') throw new TypeError('it has functions only')
            return { type: 'function', function: { name: tool.name, parameters: tool.inputSchema } }
          }),
        }),
      }
      const response = await fetch(`${host}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}` },
        body: JSON.stringify(body),
        ...(abortSignal && { signal: abortSignal }),
      })
      if (!response.ok) {
        throw Object.assign(new Error('the call failed'), {
          statusCode: response.status,
          responseBody: await response.text(),
          responseHeaders: Object.fromEntries(response.headers),
        })
      }
      const parts = partsOf(response.body!)
      const stream = new ReadableStream<Part>(
        {
          async pull(controller) {
            const { done, value } = await parts.next()
            if (done) controller.close()
            else controller.enqueue(value)
          },
          async cancel() {
            await parts.return(undefined)
          },
        },
        { highWaterMark: 0 },
      )
      return { stream }
    },
  })
}

type Chunk = {
  error?: unknown
  choices?: {
    delta?: {
      content?: string
      reasoning_content?: string
      tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[]
    }
    finish_reason?: string
  }[]
  usage?: { prompt_tokens: number; completion_tokens: number }
}

async function* partsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Part, void, undefined> {
  yield { type: 'stream-start', warnings: [] }
  const calls = new Map<number, { id: string; name: string; input: string }>()
  let finish: string | undefined
  let usage: Chunk['usage']
  let thought = ''
  let isDone = false
  for await (const { data } of sseEvents(body)) {
    // It reads on to the end, so that the connection can serve another request.
    if (data === '[DONE]') {
      isDone = true
      yield* lastParts()
      continue
    }
    let chunk: Chunk
    try {
      chunk = JSON.parse(data) as Chunk
    } catch (error) {
      yield { type: 'error', error }
      continue
    }
    if (chunk.error !== undefined) {
      yield { type: 'error', error: chunk.error }
      continue
    }
    usage = chunk.usage ?? usage
    const [choice] = chunk.choices ?? []
    finish = choice?.finish_reason ?? finish
    const { content, reasoning_content: reasoning, tool_calls: pieces = [] } = choice?.delta ?? {}
    if (reasoning !== undefined) {
      if (thought === '') yield { type: 'reasoning-start', id: 'r' }
      thought += reasoning
      yield { type: 'reasoning-delta', id: 'r', delta: reasoning }
    }
    if (content !== undefined) yield { type: 'text-delta', id: 't', delta: content }
    for (const { index, id, function: called } of pieces) {
      let call = calls.get(index)
      if (!call) {
        call = { id: id!, name: called.name!, input: '' }
        calls.set(index, call)
        yield { type: 'tool-input-start', id: call.id, toolName: call.name }
      }
      call.input += called.arguments
      if (called.arguments !== '') yield { type: 'tool-input-delta', id: call.id, delta: called.arguments }
    }
  }
  if (!isDone) yield* lastParts()

  function* lastParts(): Generator<Part> {
    if (thought !== '') yield { type: 'reasoning-end', id: 'r', providerMetadata: { sdk: { signature: thought } } }
    for (const { id, name, input } of calls.values())
      yield { type: 'tool-call', toolCallId: id, toolName: name, input, providerMetadata: { sdk: { itemId: id } } }
    const words: Record<string, 'stop' | 'length' | 'content-filter' | 'tool-calls'> = {
      stop: 'stop',
      length: 'length',
      content_filter: 'content-filter',
      tool_calls: 'tool-calls',
    }
    yield {
      type: 'finish',
      // As the packages do: a response that was cut ends for another reason, with no usage.
      finishReason: { unified: (finish === undefined ? undefined : words[finish]) ?? 'other', raw: finish },
      usage: {
        inputTokens: { total: usage?.prompt_tokens, noCache: undefined, cacheRead: 3, cacheWrite: undefined },
        outputTokens: { total: usage?.completion_tokens, text: undefined, reasoning: 2 },
      },
    }
  }
}

function toChat(message: Options['prompt'][number]): object[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', content: message.content }]
    case 'user':
      return [{ role: 'user', content: message.content.map((part) => ('text' in part ? part.text : '')).join('\n') }]
    case 'tool':
      return message.content.map((part) => {
        if (part.type !== 'tool-result' || part.output.type !== 'text') throw new TypeError('it has text only')
        return { role: 'tool', tool_call_id: part.toolCallId, content: part.output.value }
      })
    case 'assistant': {
      const calls = message.content.filter((part) => part.type === 'tool-call')
      return [
        {
          role: 'assistant',
          content: message.content.map((part) => (part.type === 'text' ? part.text : '')).join(''),
          ...(calls.length > 0 && {
            tool_calls: calls.map(({ toolCallId, toolName, input }) => ({
              id: toolCallId,
              type: 'function',
              function: { name: toolName, arguments: JSON.stringify(input) },
            })),
          }),
        },
      ]
    }
  }
}
