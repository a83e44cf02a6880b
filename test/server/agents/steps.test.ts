import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { type AgentStep, type FinishContext, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { aborted } from '../../helpers/test-actors.ts'

const look = tool({ description: 'Looks', run: () => 'a door' })
const looks = calls({ call: 'c', name: 'look', args: {} })

describe('onStep of an agent', () => {
  test('is called after each turn with its messages, its usage and its model', async () => {
    const steps: AgentStep[] = []
    await using served = await servedAgent({
      model: scriptedModel(looks, says('Done.')),
      tools: { look },
      onStep: (step) => void steps.push(step),
    })
    await served.client.start('agent', 'go').result
    expect(steps.map(({ n, stop, messages, usage, model }) => ({ n, stop, messages, usage, model }))).toEqual([
      {
        n: 1,
        stop: 'tool_calls',
        messages: [
          { role: 'assistant', content: '', calls: [{ call: 'c', name: 'look', args: {} }] },
          { role: 'tool', call: 'c', name: 'look', content: 'a door' },
        ],
        usage: { input: 10, output: 5 },
        model: 'demo:scripted',
      },
      {
        n: 2,
        stop: 'stop',
        messages: [{ role: 'assistant', content: 'Done.' }],
        usage: { input: 10, output: 2 },
        model: 'demo:scripted',
      },
    ])
  })

  test('holds the next turn back until its promise is settled, and readers see the end of the turn after it', async () => {
    const order: string[] = []
    const model = scriptedModel(
      () => (order.push('request 1'), looks),
      () => (order.push('request 2'), says('Done.')),
    )
    await using served = await servedAgent({
      model,
      tools: { look },
      async onStep({ n }) {
        await new Promise((resolve) => setImmediate(resolve))
        order.push(`step ${n}`)
      },
    })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('iteration.end')
    expect(order.slice(0, 2)).toEqual(['request 1', 'step 1'])
    await watched.over
    expect(order).toEqual(['request 1', 'step 1', 'request 2', 'step 2'])
  })

  test('that throws fails the run without its text, and the conversation is handed over all the same', async () => {
    let roles: string[] = []
    await using served = await servedAgent({
      model: scriptedModel(looks),
      tools: { look },
      onStep: () => {
        throw new Error('secret')
      },
      onFinish: (all) => void (roles = all.map(({ role }) => role)),
    })
    const end = await served.client.start('agent', 'go').end
    expect(end.error).toMatchObject({ code: 'actor_failed' })
    expect(JSON.stringify(end)).not.toContain('secret')
    expect(roles).toEqual(['user', 'assistant', 'tool'])
  })
})

describe('onFinish of an agent', () => {
  /** Runs an agent, and returns what its `onFinish` learns about the end. */
  async function ends(definition: object, how: (watched: Watched) => unknown = () => {}, options: object = {}) {
    let end: FinishContext | undefined
    let spent: unknown
    const onFinish = (_: unknown, context: FinishContext): void => {
      end = context
      spent = context.usage
    }
    await using served = await servedAgent({ ...definition, onFinish })
    const watched = new Watched(served.client.start('agent', 'go', options))
    await how(watched)
    await watched.over
    if (!end) throw new Error('onFinish was not called')
    const { outcome, error, run, principal } = end
    return { outcome, error, spent, of: [run.actor, principal.id] }
  }

  const of = ['agent', 'alice']

  test('learns that the run is done, and what it cost', async () => {
    expect(await ends({ model: scriptedModel(says('Yes.')) })).toEqual({
      outcome: 'done',
      error: undefined,
      spent: { input: 10, output: 2, exact: true },
      of,
    })
  })

  test('learns of a cancel, with the cost as far as it is known', async () => {
    const model = scriptedModel(async function* ({ signal }) {
      yield { type: 'text', text: 'Half' }
      await aborted(signal)
      signal.throwIfAborted()
    })
    const end = await ends({ model }, async (watched) => {
      await watched.first('token')
      await watched.run.cancel()
    })
    expect(end).toMatchObject({ outcome: 'cancelled', error: undefined, spent: { output: 1, exact: false }, of })
  })

  test('learns that a run took too long, which is an error and no cancel', async () => {
    const model = scriptedModel(async function* ({ signal }) {
      yield { type: 'text', text: 'Half' }
      await aborted(signal)
      signal.throwIfAborted()
    })
    const end = await ends({ model }, undefined, { timeoutMs: 50 })
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'timeout' } })
  })

  test('learns the error of a model as it is, and that of other code as the cause', async () => {
    const refused = new MillraceError('context_too_long', 'too long')
    expect(await ends({ model: scriptedModel([refused]) })).toMatchObject({ outcome: 'error', error: refused })
    const broken = new Error('secret')
    const { outcome, error } = await ends({ model: scriptedModel(says('x')), turn: () => Promise.reject(broken) })
    expect({ outcome, code: error?.code, cause: error?.cause }).toEqual({
      outcome: 'error',
      code: 'actor_failed',
      cause: broken,
    })
  })
})
