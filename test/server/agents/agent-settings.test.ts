import { describe, expect, test } from 'vitest'
import { agent, type ModelEvent, type ModelRequest, type ModelSettings, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'

const look = tool({ description: 'Looks', run: () => 'seen' })
const called = calls({ call: 'c', name: 'look', args: {} })

/** A model that remembers the settings of its requests. */
function listening(...turns: ModelEvent[][]): { model: ReturnType<typeof scriptedModel>; asked: object[] } {
  const asked: object[] = []
  const model = scriptedModel(
    ...turns.map((turn) => (request: ModelRequest) => {
      const { messages: _, tools: __, signal: ___, ...settings } = request
      asked.push(settings)
      return turn
    }),
  )
  return { model, asked }
}

const ALL: ModelSettings = {
  temperature: 0,
  topP: 0.5,
  maxTokens: 100,
  stop: ['END'],
  seed: -1,
  toolChoice: 'auto',
  effort: 'low',
  parallelToolCalls: false,
}

describe('the settings of an agent', () => {
  test('reach its model in every turn, and none that was not set does', async () => {
    const { model, asked } = listening(called, says('ok'))
    await using served = await servedAgent({ model, tools: { look }, settings: ALL })
    await served.client.start('agent', 'go').result
    expect(asked).toEqual([ALL, ALL])
    const bare = listening(says('ok'))
    await using other = await servedAgent({ model: bare.model })
    await other.client.start('agent', 'go').result
    expect(bare.asked).toEqual([{}])
  })

  test('may be written as `temperature` and `maxTokens`', async () => {
    const { model, asked } = listening(says('ok'))
    await using served = await servedAgent({ model, temperature: 0, maxTokens: 5, settings: { maxTokens: 6 } })
    await served.client.start('agent', 'go').result
    expect(asked).toEqual([{ temperature: 0, maxTokens: 6 }])
  })

  test.each<[ModelSettings['toolChoice'], unknown]>([
    ['required', undefined],
    [{ tool: 'look' }, undefined],
    ['none', 'none'],
    ['auto', 'auto'],
  ])('with the toolChoice %j have %j after the first turn, so that the model can answer', async (toolChoice, then) => {
    const { model, asked } = listening(called, says('ok'))
    await using served = await servedAgent({ model, tools: { look }, settings: { toolChoice: toolChoice! } })
    await served.client.start('agent', 'go').result
    expect(asked).toEqual([{ toolChoice }, then === undefined ? {} : { toolChoice: then }])
  })

  test.each<[object, string]>([
    [{ temperature: -1 }, 'temperature'],
    [{ temperature: Number.NaN }, 'temperature'],
    [{ topP: 0 }, 'topP'],
    [{ maxTokens: 0 }, 'maxTokens'],
    [{ maxTokens: 1.5 }, 'maxTokens'],
    [{ stop: 'END' }, 'stop'],
    [{ stop: [''] }, 'stop'],
    [{ toolChoice: { tool: 'lok' } }, 'this agent has no tool "lok"'],
    [{ effort: 'most' }, 'effort'],
    [{ temprature: 1 }, 'temprature'],
  ])('cannot be %j', (settings, says) => {
    expect(() => agent({ tools: { look }, settings })).toThrow(
      expect.objectContaining({ code: 'bad_request', message: expect.stringContaining(says) }),
    )
  })

  test('that clients may set must exist', () => {
    expect(() => agent({ clientSettings: ['temprature' as never] })).toThrow('unknown setting temprature')
  })
})

describe('the settings of a client', () => {
  test('win over those of the agent, where the agent allows them', async () => {
    const { model, asked } = listening(says('ok'), says('ok'), says('ok'))
    await using served = await servedAgent({
      model,
      settings: { temperature: 0, topP: 0.5 },
      clientSettings: ['temperature', 'seed'],
    })
    await served.client.start('agent', { prompt: 'go', settings: { temperature: 1, seed: 3 } }).result
    const messages = [{ role: 'user' as const, content: 'go' }]
    await served.client.start('agent', { messages, settings: { temperature: 2 } }).result
    await served.client.start('agent', { messages, settings: {} }).result
    expect(asked).toEqual([
      { temperature: 1, topP: 0.5, seed: 3 },
      { temperature: 2, topP: 0.5 },
      { temperature: 0, topP: 0.5 },
    ])
  })

  test('never get more tokens than the agent allows', async () => {
    const { model, asked } = listening(says('ok'), says('ok'))
    await using served = await servedAgent({ model, settings: { maxTokens: 10 }, clientSettings: ['maxTokens'] })
    await served.client.start('agent', { prompt: 'go', settings: { maxTokens: 1_000_000 } }).result
    await served.client.start('agent', { prompt: 'go', settings: { maxTokens: 3 } }).result
    expect(asked).toEqual([{ maxTokens: 10 }, { maxTokens: 3 }])
  })

  test.each<[object, string]>([
    [{ topP: 0.5 }, 'this agent takes no setting "topP" of a client; clients may set: temperature, toolChoice'],
    [{ model: 'openai:gpt-5' }, 'this agent takes no setting "model" of a client'],
    [{ temperature: 'hot' }, 'temperature'],
    [{ toolChoice: { tool: 'rm' } }, 'this agent has no tool "rm"'],
  ])('%j are refused: %s', async (settings, says) => {
    const { model, asked } = listening(called)
    await using served = await servedAgent({ model, tools: { look }, clientSettings: ['temperature', 'toolChoice'] })
    await expect(served.client.start('agent', { prompt: 'go', settings }).result).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(says),
    })
    expect(asked).toEqual([])
  })

  test('are refused by an agent that allows none', async () => {
    await using served = await servedAgent({ model: scriptedModel(says('ok')) })
    await expect(
      served.client.start('agent', { prompt: 'go', settings: { temperature: 1 } }).result,
    ).rejects.toMatchObject({ code: 'invalid_input', message: expect.stringContaining('clients may set: none') })
  })
})

describe('a setting that the provider does not have', () => {
  test('is a warning, once in a run', async () => {
    const warning: ModelEvent = { type: 'warning', code: 'unsupported_setting', message: 'no seed' }
    const other: ModelEvent = { ...warning, message: 'no topP' }
    const model = scriptedModel([warning, ...called], [warning, other, ...says('ok')])
    await using served = await servedAgent({ model, tools: { look } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.over
    expect(watched.all('warning').map(({ message }) => message)).toEqual(['no seed', 'no topP'])
  })
})
