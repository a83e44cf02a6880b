import { describe, expect, test } from 'vitest'
import type { Model } from '../../../server/models/model.ts'
import { modelRegistry } from '../../../server/models/model-registry.ts'
import { openai } from '../../../server/models/openai.ts'

function model(id: string): Model {
  return { id, provider: id.split(':')[0]!, stream: () => expect.unreachable('nobody asks it') }
}

describe('a model registry', () => {
  const mini = model('openai:gpt-5-mini')
  const llama = model('ollama:llama3.2')

  test('finds a model by its id, and the default one when no id is given', () => {
    const registry = modelRegistry({ default: mini, models: [llama] })
    expect(registry.find('ollama:llama3.2')).toBe(llama)
    expect(registry.find()).toBe(mini)
    expect(registry.models.map(({ id, provider }) => [id, provider])).toEqual([
      ['openai:gpt-5-mini', 'openai'],
      ['ollama:llama3.2', 'ollama'],
    ])
  })

  test('takes its only model as the default one', () => {
    expect(modelRegistry({ models: [llama] }).find()).toBe(llama)
  })

  test('returns a model object unchanged, known or not', () => {
    expect(modelRegistry().find(mini)).toBe(mini)
  })

  test('refuses an unknown id, and says nothing of the others: a client may get the error', () => {
    expect(() => modelRegistry({ models: [mini, llama] }).find('demo')).toThrow(
      expect.objectContaining({ code: 'not_found', message: 'unknown model demo' }),
    )
    expect(() => modelRegistry({ models: [mini, llama] }).find()).toThrow('no model: give the agent one')
  })

  test('refuses two models of one id, but takes the same one twice', () => {
    expect(() => modelRegistry({ models: [mini, model('openai:gpt-5-mini')] })).toThrow('two models have the id')
    expect(modelRegistry({ default: mini, models: [mini] }).models).toEqual([mini])
  })

  test('makes models of a provider on demand, by the name behind the first colon', () => {
    const named: string[] = []
    const ollama = (name: string): Model => {
      named.push(name)
      return model(`ollama:${name}`)
    }
    const registry = modelRegistry({ models: [llama], providers: { ollama } })
    expect(registry.providers).toEqual(['ollama'])
    expect(registry.find('ollama:llama3.2')).toBe(llama)
    expect(registry.find('ollama:qwen3:8b').id).toBe('ollama:qwen3:8b')
    expect(named).toEqual(['qwen3:8b'])
    for (const unknown of ['openai:gpt-5', 'ollama', ':x', 'constructor:x'])
      expect(() => registry.find(unknown)).toThrow(`unknown model ${unknown}`)
  })

  test('finds what is written @(ID)', () => {
    const registry = modelRegistry({ models: [mini, llama], providers: { demo: () => mini } })
    expect(registry.find('@(ollama:llama3.2)')).toBe(llama)
    expect(registry.find('@(demo:any)')).toBe(mini)
    expect(() => registry.find('@(other)')).toThrow('unknown model @(other)')
  })

  test('passes on why a provider cannot make a model, and refuses what it makes if that is none', () => {
    const providers = { openai: (name: string) => openai(name, { env: {} }), odd: () => ({}) as Model }
    const registry = modelRegistry({ providers })
    expect(() => registry.find('openai:gpt-5')).toThrow('set OPENAI_API_KEY')
    expect(() => registry.find('odd:x')).toThrow('a model must have')
  })

  test.each([{ 'a:b': () => mini }, { '': () => mini }, { openai: mini as never }])(
    'refuses providers that cannot be named or asked: %j',
    (providers) => {
      expect(() => modelRegistry({ providers })).toThrow(expect.objectContaining({ code: 'bad_request' }))
    },
  )
})
