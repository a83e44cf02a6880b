import { describe, expect, test } from 'vitest'
import { type ModelEvent, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { latch } from '../../helpers/test-actors.ts'

const wanted = { call: 'c1', name: 'order', args: {} }

describe('a tool that asks the clients', () => {
  test('gets the first answer, and its question names the call', async () => {
    const order = tool({
      description: 'Orders',
      run: async (_, { request }) => ({ size: await request({ kind: 'text', prompt: 'Which size?' }) }),
    })
    await using served = await servedAgent({ model: scriptedModel(calls(wanted), says('ok')), tools: { order } })
    const watched = new Watched(served.client.start('agent', 'go'))
    const request = await watched.first('request')
    expect(request).toMatchObject({ kind: 'text', prompt: 'Which size?', call: 'c1' })
    await watched.run.send('answer', { request: request.id, value: 'large' })
    await watched.over
    expect(watched.all('tool.result')).toMatchObject([{ outcome: 'ok', output: { size: 'large' } }])
  })

  test('is withdrawn with its call, and the agent goes on', async () => {
    const held = latch()
    const heldBack = async function* (): AsyncGenerator<ModelEvent> {
      await held.opened
      yield* says('ok')
    }
    const order = tool({ description: 'Orders', run: (_, { request }) => request({ kind: 'text' }) })
    await using served = await servedAgent({ model: scriptedModel(calls(wanted), heldBack), tools: { order } })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.first('request')
    expect(await watched.run.cancel({ call: 'c1' })).toMatchObject({ outcome: 'cancelled', settled: true })
    await expect(watched.run.send('answer', { request: id, value: 'late' })).rejects.toMatchObject({
      code: 'not_found',
    })
    held.open()
    await watched.over
    expect(watched.text).toBe('ok')
  })

  test('has the rest of its time limit after the answer, however long that took', async () => {
    const runtime = handClock()
    const order = tool({
      description: 'Orders',
      timeoutMs: 1_000,
      async run(_, { request, signal }) {
        await request({ kind: 'text' })
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    await using served = await servedAgent(
      { model: scriptedModel(calls(wanted), says('ok')), tools: { order } },
      { runtime },
    )
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.first('request')
    runtime.advance(60_000)
    await watched.run.send('answer', { request: id, value: 'now' })
    runtime.advance(900)
    expect(watched.all('tool.result')).toEqual([])
    runtime.advance(200)
    expect(await watched.first('tool.result')).toMatchObject({
      outcome: 'error',
      error: 'the tool took longer than 1000 ms and was stopped',
    })
  })
})
