import { describe, expect, test } from 'vitest'
import { actor, agent, agentTool, MillraceError, type ModelEvent, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'

/** A turn that says these things and then waits for its abort. */
const endless = (...said: ModelEvent[]) =>
  async function* ({ signal }: { signal: AbortSignal }): AsyncGenerator<ModelEvent> {
    yield* said
    await aborted(signal)
    signal.throwIfAborted()
  }

const word: ModelEvent = { type: 'text', text: 'word ' }

/** 4,000 bytes of UTF-8, also in characters of two bytes. */
const PROMPTS = ['a'.repeat(4_000), 'é'.repeat(2_000)]

describe('the usage in the receipt of a cancel', () => {
  test.each(PROMPTS)('estimates the input of a request whose provider was cut off', async (prompt) => {
    await using served = await servedAgent({ model: scriptedModel(endless(word)) })
    const watched = new Watched(served.client.start('agent', prompt))
    await watched.first('token')
    await watched.run.cancel()
    expect(await watched.run.usage).toEqual({ input: 1_000, output: 1, exact: false })
  })

  test('adds the estimate to what was stated in the turns before', async () => {
    const say = tool({ description: 'x', run: () => 'b'.repeat(4_000) })
    const model = scriptedModel(calls({ call: 'c', name: 'say', args: {} }), endless(word))
    await using served = await servedAgent({ model, tools: { say } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.cancel()
    const { input, ...rest } = (await watched.run.usage)!
    expect(rest).toEqual({ output: 6, exact: false })
    // The first turn stated 10. The second sends the output of the tool, its call and the description of the tool.
    expect(input).toBeGreaterThan(10 + 1_000)
    expect(input).toBeLessThan(10 + 1_100)
  })

  test('estimates nothing that the provider has stated already', async () => {
    const usage: ModelEvent = { type: 'usage', input: 7, output: 0 }
    await using served = await servedAgent({ model: scriptedModel(endless(usage, word, word)) })
    const watched = new Watched(served.client.start('agent', 'go'.repeat(1_000)))
    await watched.first('token', () => watched.all('token').length === 2)
    await watched.run.cancel()
    expect(await watched.run.usage).toEqual({ input: 7, output: 2, exact: false })
  })

  test('estimates nothing for an answer that ended before without stating its usage', async () => {
    const model = scriptedModel([word, { type: 'finish', stop: 'stop' }])
    const talk = actor({
      async *stream(_: unknown, context) {
        yield* context.model(model).text('a'.repeat(4_000))
        await aborted(context.signal)
      },
    })
    await using served = await testServer({ talk })
    await using client = await served.client()
    client.start(1, 'talk')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    expect((await client.next('end')).data).not.toHaveProperty('usage')
  })

  test('survives a request that has no JSON', async () => {
    const args: unknown[] = []
    args.push(args)
    const messages = [{ role: 'assistant' as const, content: '', calls: [{ call: 'c', name: 'x', args }] }]
    const talk = actor({
      async *stream(_: unknown, context) {
        yield* context.model(scriptedModel(endless(word))).text({ messages })
      },
    })
    await using served = await testServer({ talk })
    await using client = await served.client()
    client.start(1, 'talk')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    expect((await client.next('end')).data).toMatchObject({ usage: { input: 0, output: 1, exact: false } })
  })
})

describe('the usage in the end of a run', () => {
  test('is an estimate where a message cut an answer short', async () => {
    const model = scriptedModel(endless(word), says('Two.'))
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'a'.repeat(4_000)))
    await watched.first('token')
    await watched.run.send('message.now', 'shorter')
    expect((await watched.run.end).outcome).toBe('done')
    expect(await watched.run.usage).toEqual({ input: 1_000 + 10, output: 1 + 2, exact: false })
  })

  test('counts nothing twice where the provider had stated it before the answer was cut short', async () => {
    const model = scriptedModel(endless(word, { type: 'usage', input: 7, output: 1 }), says('Two.'))
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'a'.repeat(4_000)))
    await watched.first('usage')
    await watched.run.send('message.now', 'shorter')
    expect(await watched.run.usage).toEqual({ input: 7 + 10, output: 1 + 2 })
  })

  test('is an estimate where the answer broke off, and nothing where its request was refused', async () => {
    const [broken, refused] = [new MillraceError('truncated', 'broke off'), new MillraceError('rate_limited', 'later')]
    await using served = await servedAgent({ model: scriptedModel([word, broken]) })
    const run = served.client.start('agent', 'a'.repeat(4_000))
    expect(await run.end).toMatchObject({ outcome: 'error', usage: { input: 1_000, output: 1, exact: false } })

    await using other = await servedAgent({ model: scriptedModel([refused]) })
    const end = await other.client.start('agent', 'a'.repeat(4_000)).end
    expect([end.outcome, end.usage]).toEqual(['error', undefined])
  })

  test.each([
    ['leaves an answer', false],
    ['does not wait for an answer', true],
  ])('is an estimate where its actor %s', async (_, isLeft) => {
    const model = scriptedModel(endless(word, word))
    const talk = actor({
      async *stream(_: unknown, context) {
        const said = context.model(model).text('a'.repeat(4_000))[Symbol.asyncIterator]()
        yield String((await said.next()).value)
        if (!isLeft) await said.return?.()
      },
    })
    await using served = await testServer({ talk })
    await using client = await served.client()
    client.start(1, 'talk')
    expect(await client.next('end')).toMatchObject({
      outcome: 'done',
      data: { usage: { input: 1_000, output: 1, exact: false } },
    })
  })

  test('is an estimate where that of a child is, also in the end of the child', async () => {
    const child = agent({ model: scriptedModel([word, new MillraceError('truncated', 'broke off')]) })
    const model = scriptedModel(calls({ call: 'c', name: 'ask', args: { prompt: 'go' } }), says('Done.'))
    await using served = await servedAgent({ model, tools: { ask: agentTool(child, { description: 'x' }) } })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.usage).toMatchObject({ output: 5 + 1 + 2, exact: false })
    expect((await watched.first('agent.end')).usage).toMatchObject({ output: 1, exact: false })
  })

  test('says nothing of exactness where all of it was stated', async () => {
    await using served = await servedAgent({ model: scriptedModel(says('Done.')) })
    expect(await served.client.start('agent', 'go').usage).toEqual({ input: 10, output: 2 })
  })
})
