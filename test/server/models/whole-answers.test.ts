import { describe, expect, test } from 'vitest'
import { anthropic } from '../../../server/models/anthropic.ts'
import type { Model } from '../../../server/models/model.ts'
import { openai } from '../../../server/models/openai.ts'
import { readToEnd } from '../../helpers/read-all.ts'

type Fetch = typeof globalThis.fetch

const chat = { choices: [{ message: { content: 'Rain.' }, finish_reason: 'stop' }] }
const responses = {
  object: 'response',
  status: 'completed',
  output: [{ type: 'message', content: [{ type: 'output_text', text: 'Rain.' }] }],
}
const messages = { type: 'message', content: [{ type: 'text', text: 'Rain.' }], stop_reason: 'end_turn' }

describe.each<[string, (fetch: Fetch) => Model, object]>([
  ['openai', (fetch) => openai('m', { baseURL: 'http://host/v1', env: {}, fetch }), chat],
  ['openai responses', (fetch) => openai('m', { api: 'responses', baseURL: 'http://h/v1', env: {}, fetch }), responses],
  ['anthropic', (fetch) => anthropic('m', { baseURL: 'http://host', env: {}, fetch }), messages],
])('%s, with a model that cannot stream,', (_name, make, whole) => {
  /** What each request asked for, and what the model said twice. */
  async function asked(refusal: object, status = 400) {
    const streamed: unknown[] = []
    const model = make(async (input, init) => {
      const { stream } = (await new Request(input, init).json()) as { stream: unknown }
      streamed.push(stream)
      return stream === true ? Response.json(refusal, { status }) : Response.json(whole)
    })
    const ask = () => {
      const { signal } = new AbortController()
      return readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal }))
    }
    const first = await ask()
    return { first, second: await ask(), streamed }
  }

  test.each([
    { error: { message: "Unsupported value: 'stream' does not support true", param: 'stream' } },
    { error: { message: 'Your organization must be verified to stream this model.' } },
    { error: { message: 'this model does not support streaming' } },
    { error: { message: 'Streaming is not supported for this model' } },
  ])('asks for one answer after %j, and shows nothing of it', async (refusal) => {
    const { first, second, streamed } = await asked(refusal)
    expect(first).toMatchObject({
      events: [
        { type: 'text', text: 'Rain.' },
        { type: 'finish', stop: 'stop' },
      ],
    })
    expect(second.events).toEqual(first.events)
    // It has learned: the second request does not ask for a stream at all.
    expect(streamed).toEqual([true, false, false])
  })

  test('asks for no whole answer after any other refusal', async () => {
    const { first, streamed } = await asked({ error: { message: 'stream_options.include_usage is not supported' } })
    expect(first.error).toMatchObject({ code: 'bad_request' })
    expect(streamed).toEqual([true, true])
  })
})
