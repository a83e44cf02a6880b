import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor, type Message, type ModelEvent } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'

const RETRY: ModelEvent = { type: 'retry', attempt: 1, delayMs: 0, code: 'provider_error' }

describe('a model that tries again', () => {
  test.each<[string, ModelEvent]>([
    ['text', { type: 'text', text: 'Half an ans' }],
    ['thinking', { type: 'thinking', text: 'hmm' }],
    ['arguments', { type: 'tool.args', call: 'c', name: 'x', text: '{"a"' }],
    ['a call', { type: 'tool.call', call: 'c', name: 'x', args: {} }],
  ])('after %s ends its answer, so that nothing is said twice', async (_what, said) => {
    let handed: Message[] = []
    const usage: ModelEvent = { type: 'usage', input: 7, output: 3 }
    const model = scriptedModel([said, usage, RETRY, ...says('Half an answer.')])
    await using served = await servedAgent({ model, onFinish: (all) => void (handed = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.over).toMatchObject({ code: 'truncated', retryable: true })
    const text = said.type === 'text' ? said.text : ''
    expect(watched.text).toBe(text)
    expect(handed.slice(1).map(({ content }) => content)).toEqual(text === '' ? [] : [text])
    expect(await watched.run.end).toMatchObject({ outcome: 'error', usage: { input: 7, output: 3 } })
    expect(watched.all('retry')).toEqual([])
    expect(served.errors).toMatchObject([{ name: 'ModelFailure', cause: { code: 'truncated' } }])
  })

  test('before it has said anything goes on, and its answer counts once', async () => {
    const model = scriptedModel([{ type: 'warning', code: 'w', message: 'w' }, RETRY, RETRY, ...says('Whole.')])
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.result).toBe('Whole.')
    expect(watched.all('retry')).toHaveLength(2)
  })

  test('after its text ends the text of an actor of your own, too', async () => {
    const model = scriptedModel([{ type: 'text', text: 'Half' }, RETRY, ...says('Half and more')])
    const talk = actor({ stream: (_, context) => context.model(model).text('go') })
    await using served = await testServer({ talk })
    await expect(served.server.router.ask('talk', undefined)).rejects.toMatchObject({ code: 'truncated' })
  })
})

describe('an answer of any model', () => {
  test('is truncated if the model stops without saying so, and its calls are not made', async () => {
    const model = scriptedModel(calls({ call: 'c', name: 'x', args: {} }).slice(0, -1))
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.over).toMatchObject({ code: 'truncated' })
    expect(watched.all('tool.call')).toEqual([])
  })

  test('is over at `finish`: what a model sends behind it does not count', async () => {
    const model = scriptedModel([...says('Done.'), { type: 'text', text: ' Or not.' }, RETRY])
    await using served = await servedAgent({ model })
    expect(await served.client.start('agent', 'go').result).toBe('Done.')
  })

  test.each(['unauthenticated', 'forbidden'] as const)(
    'that ends with %s tells no client that its own token was refused',
    async (code) => {
      const model = scriptedModel([new MillraceError(code, 'key sk-123456789 is wrong')])
      await using served = await servedAgent({ model })
      const { run } = new Watched(served.client.start('agent', 'go'))
      const failure = await run.result.catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'provider_error', retryable: false })
      expect(String(failure)).not.toContain('sk-')
      expect(served.errors).toMatchObject([{ cause: { cause: { code } } }])
    },
  )
})
