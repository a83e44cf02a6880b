import { describe, expect, test } from 'vitest'
import { type ModelRequest, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'

/** An agent that calls a tool, and then answers until it is stopped. */
function answering() {
  const look = tool({ description: 'x', run: () => 'a door' })
  const model = scriptedModel(
    [{ type: 'text', text: 'Let me see. ' }, ...calls({ call: 'c', name: 'look', args: {} })],
    async function* ({ signal }: ModelRequest) {
      yield { type: 'text', text: 'A door, ' }
      yield { type: 'text', text: 'and ' }
      await aborted(signal)
      signal.throwIfAborted()
    },
  )
  return servedAgent({ model, tools: { look } })
}

describe('a stop of what the user saw', () => {
  test('is refused as stale when a later turn has begun, and the run and its loop go on', async () => {
    await using served = await answering()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { seq } = await watched.first('token')
    await watched.first('token', ({ text }) => text === 'and ')
    expect(await watched.run.cancel({ ifSeq: seq })).toEqual({ confirmed: false, code: 'stale' })
    expect(served.server.liveRuns).toBe(1)
    await watched.run.cancel()
  })

  test('stops the run with a receipt when the user saw any item of its present turn', async () => {
    await using served = await answering()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { seq } = await watched.first('token', ({ text }) => text === 'A door, ')
    await watched.first('token', ({ text }) => text === 'and ')
    expect(await watched.run.cancel({ ifSeq: seq, reason: 'superseded', note: 'another question' })).toMatchObject({
      outcome: 'cancelled',
      confirmed: true,
      settled: true,
      provider: 'closed',
      reason: 'superseded',
      note: 'another question',
    })
    expect(await watched.over).toBeUndefined()
  })

  test('reaches a run that its reader is behind of, whose unread items are dropped', async () => {
    await using served = await answering()
    const run = served.client.start('agent', 'go', { credit: 8 })
    const events = run[Symbol.asyncIterator]()
    let seq = 0
    for (let turn = 0; turn < 2; ) {
      const { value } = await events.next()
      if (value?.type === 'iteration') turn++
      if (value) seq = value.seq
    }
    expect(await run.cancel({ ifSeq: seq })).toMatchObject({ outcome: 'cancelled', settled: true })
  })

  test('resolves without a reader of the items that were said before it', async () => {
    const model = scriptedModel(async function* ({ signal }: ModelRequest) {
      for (let n = 0; n < 20; n++) yield { type: 'text', text: 'x'.repeat(600) }
      await aborted(signal)
      signal.throwIfAborted()
    })
    await using served = await servedAgent({ model })
    const run = served.client.start('agent', 'go', { credit: 2 })
    const { value } = await run[Symbol.asyncIterator]().next()
    expect(await run.cancel({ ifSeq: value!.seq })).toMatchObject({ outcome: 'cancelled', settled: true })
  })

  test('that comes after the end of the run resolves within the loop, which ends', async () => {
    const model = scriptedModel([
      ...Array.from({ length: 6 }, () => ({ type: 'text', text: 'x'.repeat(600) }) as const),
      { type: 'finish', stop: 'stop' },
    ])
    await using served = await servedAgent({ model })
    const run = served.client.start('agent', 'go')
    const results = []
    for await (const { seq } of run) {
      await eventually(() => served.server.liveRuns === 0, 'it has ended')
      results.push(await run.cancel({ ifSeq: seq }))
    }
    expect(results).toEqual([{ confirmed: true, outcome: 'done' }])
  })

  test('of a run that has ended resolves with how it ended', async () => {
    const model = scriptedModel([
      { type: 'text', text: 'Done.' },
      { type: 'finish', stop: 'stop' },
    ])
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.over
    expect(await watched.run.cancel({ ifSeq: 1 })).toEqual({ confirmed: true, outcome: 'done' })
  })

  test('comes only from a principal that may cancel the run', async () => {
    await using served = await answering()
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.run.opened
    const eve = served.another(undefined, 'eve').attach('agent', id)
    await eve.opened
    expect(await eve.cancel({ ifSeq: 1_000 })).toEqual({ confirmed: false, code: 'forbidden' })
    await watched.run.cancel()
  })

  test.each([{}, { ifSeq: -1 }, { ifSeq: 'x' }, 'now'])(
    'is refused without the number of an item: %j',
    async (data) => {
      await using served = await answering()
      const watched = new Watched(served.client.start('agent', 'go'))
      await watched.first('token')
      await expect(watched.run.send('stop', data)).rejects.toMatchObject({ code: 'invalid_input' })
      await watched.run.cancel()
    },
  )
})
