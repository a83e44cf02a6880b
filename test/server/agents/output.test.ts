import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { partialObject } from '../../../client-sdk/index.ts'
import { agent } from '../../../server/agents/agent.ts'
import { type Message, type ModelRequest, type Structured, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'

const output = z.object({ city: z.string(), celsius: z.number() })
const fits = '{"city":"Oslo","celsius":-3}'
const oslo = { city: 'Oslo', celsius: -3 }

/** A model of that kind, and its requests. */
function model(structured: Structured | undefined, ...answers: Parameters<typeof scriptedModel>) {
  const scripted = scriptedModel(...answers)
  const requests: ModelRequest[] = []
  const stream = (request: ModelRequest) => {
    requests.push(request)
    return scripted.stream(request)
  }
  return { ...scripted, structured, requests, stream }
}

const systemOf = ({ messages }: ModelRequest): unknown => messages.find(({ role }) => role === 'system')?.content

describe('the output of an agent', () => {
  test('is the result of its run, and its text is the JSON as the model writes it', async () => {
    const pieces = ['{"city":', '"Os', 'lo","cel', 'sius":-3}'].map((text) => ({ type: 'text', text }) as const)
    await using served = await servedAgent({ output, model: model('enforced', [...pieces, ...says('').slice(1)]) })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.result).toEqual(oslo)
    const partial: unknown[] = []
    let json = ''
    for (const { text } of watched.all('token')) partial.push(partialObject((json += text)))
    expect(partial).toEqual([{}, { city: 'Os' }, { city: 'Oslo' }, oslo])
  })

  test('is what the schema makes of it', async () => {
    const transformed = z.object({ city: z.string() }).transform(({ city }) => ({ name: city.toUpperCase() }))
    await using served = await servedAgent({ output: transformed, model: model('enforced', says('{"city":"Oslo"}')) })
    expect(await served.client.start('agent', 'go').result).toEqual({ name: 'OSLO' })
  })

  test('is found in a fence and among words', async () => {
    await using served = await servedAgent({
      output,
      model: model('none', says(`Here:\n\`\`\`json\n${fits}\n\`\`\` Bye.`)),
    })
    expect(await served.client.start('agent', 'go').result).toEqual(oslo)
  })

  test.each([
    ['enforced', true, undefined],
    ['best-effort', true, expect.stringContaining('"celsius"')],
    ['none', false, expect.stringContaining('"celsius"')],
    [undefined, false, expect.stringContaining('"celsius"')],
  ] as const)('is asked of a model whose `structured` is %s', async (structured, isSent, words) => {
    const asked = model(structured, says(fits))
    await using served = await servedAgent({ output, model: asked })
    await served.client.start('agent', 'go').result
    const [request] = asked.requests
    expect(request?.output?.schema).toEqual(
      isSent ? expect.objectContaining({ type: 'object', required: ['city', 'celsius'] }) : undefined,
    )
    expect(systemOf(request!)).toEqual(words)
  })

  test('is added to the instructions', async () => {
    const asked = model('none', says(fits))
    await using served = await servedAgent({ output, model: asked, instructions: 'be exact' })
    await served.client.start('agent', 'go').result
    expect(systemOf(asked.requests[0]!)).toMatch(/^be exact\n\nGive your final answer as one JSON object/)
  })

  test('lets the model call its tools first: one that only tries to keep to the form is sent it afterwards', async () => {
    const look = tool({ description: 'x', run: () => 'cold' })
    const asked = model('best-effort', calls({ call: 'c', name: 'look', args: {} }), says('Cold.'), says(fits))
    await using served = await servedAgent({ output, model: asked, tools: { look } })
    expect(await served.client.start('agent', 'go').result).toEqual(oslo)
    expect(asked.requests.map((request) => [request.output !== undefined, request.toolChoice])).toEqual([
      [false, undefined],
      [false, undefined],
      [true, 'none'],
    ])
  })

  test('that does not fit is a warning, and the model is asked again with what is wrong', async () => {
    const asked = model('none', says('I think it is cold.'), says('{"city":"Oslo","celsius":"cold"}'), says(fits))
    let kept: Message[] = []
    await using served = await servedAgent({ output, model: asked, onFinish: (all) => void (kept = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.result).toEqual(oslo)
    expect(watched.all('warning').map(({ code, message }) => `${code}: ${message}`)).toEqual([
      'invalid_output: the answer does not fit: it is no JSON object; the model is asked again (1 of 2)',
      expect.stringMatching(/^invalid_output: the answer does not fit: celsius: .*\(2 of 2\)$/),
    ])
    expect(asked.requests[2]?.messages.at(-1)).toMatchObject({
      content: expect.stringContaining('celsius: ') as string,
    })
    expect(kept.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user', 'assistant'])
    expect((await watched.run.end).iterations).toBe(3)
  })

  test('that never fits fails the run after two more requests, with the text kept', async () => {
    const asked = model('enforced', says('no'))
    await using served = await servedAgent({ output, model: asked })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.end).toMatchObject({
      outcome: 'error',
      error: { code: 'invalid_output', retryable: true },
      usage: { input: 30, output: 6 },
    })
    expect([asked.requests.length, watched.text]).toEqual([3, 'nonono'])
  })

  test('is not asked for again beyond maxIterations', async () => {
    const asked = model('enforced', says('no'))
    await using served = await servedAgent({ output, model: asked, maxIterations: 2 })
    expect((await served.client.start('agent', 'go').end).error?.code).toBe('invalid_output')
    expect(asked.requests).toHaveLength(2)
  })

  test('is missing where `turn` ends the run before it', async () => {
    await using served = await servedAgent({
      output,
      model: model('enforced', says(fits)),
      turn: () => ({ stop: true }),
    })
    expect((await served.client.start('agent', 'go').end).error?.code).toBe('invalid_output')
  })

  test('whose schema throws fails the run without its text', async () => {
    const failing = output.transform(() => {
      throw new Error('secret')
    })
    await using served = await servedAgent({ output: failing, model: model('enforced', says(fits)) })
    const end = await served.client.start('agent', 'go').end
    expect(end.error?.code).toBe('actor_failed')
    expect(JSON.stringify(end)).not.toContain('secret')
  })

  test.each([
    ['describes no object', z.string(), 'the output of an agent must be an object'],
    [
      'does not say its JSON Schema',
      { '~standard': { version: 1 as const, vendor: 'mine', validate: (value: unknown) => ({ value }) } },
      'does not provide its JSON Schema',
    ],
  ])('is refused with a schema that %s', (_, schema, why) => {
    expect(() => agent({ output: schema as never })).toThrow(why)
  })
})
