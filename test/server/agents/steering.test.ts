import { describe, expect, test } from 'vitest'
import type { Run } from '../../../client-sdk/node.ts'
import { type Message, type ModelRequest, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

const user = (content: string) => ({ role: 'user', content })
const assistant = (content: string) => ({ role: 'assistant', content })

/** A model that says a word and waits until the test lets it go on or its request is aborted; then it answers. */
function patient() {
  const release = latch()
  let stopped = 0
  const model = scriptedModel(
    async function* ({ signal }: ModelRequest) {
      yield { type: 'text', text: 'Well, ' }
      await Promise.race([release.opened, aborted(signal)])
      if (signal.aborted) stopped++
      signal.throwIfAborted()
      yield { type: 'text', text: 'hm.' }
      yield { type: 'finish', stop: 'stop' }
    },
    says('Two.'),
    says('Three.'),
  )
  return { model, release, stopped: () => stopped }
}

describe('a message to an agent', () => {
  test('in mode now stops the request under way, keeps its text, and is answered in the next turn', async () => {
    const { model, stopped } = patient()
    let kept: Message[] = []
    await using served = await servedAgent({ model, onFinish: (all) => void (kept = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    const sent = watched.run.send('message.now', 'shorter')
    expect(await sent).toBe('accepted')
    expect(await sent.delivery).toEqual({ n: 2 })
    expect(await watched.run.result).toBe('Well, Two.')
    expect(stopped()).toBe(1)
    expect(watched.all('iteration.end').map(({ stop }) => stop)).toEqual(['interrupted', 'stop'])
    expect(kept).toEqual([user('go'), assistant('Well, '), user('shorter'), assistant('Two.')])
    expect((await watched.run.end).usage).toMatchObject({ output: 1 + 2 })
    expect(served.errors).toEqual([])
  })

  test('in mode now waits for the tools that run', async () => {
    const [begun, release] = [latch(), latch()]
    const work = tool({
      description: 'x',
      async run() {
        begun.open()
        await release.opened
        return 'worked'
      },
    })
    const model = scriptedModel(calls({ call: 'c', name: 'work', args: {} }), says('Done.'))
    await using served = await servedAgent({ model, tools: { work } })
    const run = served.client.start('agent', 'go')
    await begun.opened
    const sent = run.send('message.now', 'hurry')
    await sent
    release.open()
    expect(await run.result).toBe('Done.')
    expect(await sent.delivery).toEqual({ n: 2 })
    expect(model.asked[1]?.slice(-2)).toMatchObject([{ role: 'tool', content: 'worked' }, user('hurry')])
  })

  test('in mode now that comes while `turn` decides is part of the turn that it decides about next', async () => {
    const [deciding, decided] = [latch(), latch()]
    const seen: [number, number][] = []
    const model = scriptedModel(says('One.'))
    await using served = await servedAgent({
      model,
      async turn({ n, messages }) {
        seen.push([n, messages.length])
        deciding.open()
        await decided.opened
      },
    })
    const run = served.client.start('agent', 'go')
    await deciding.opened
    const sent = run.send('message.now', 'wait')
    await sent
    decided.open()
    expect(await run.result).toBe('One.')
    expect(await sent.delivery).toEqual({ n: 1 })
    expect([seen, model.asked]).toEqual([
      [
        [1, 1],
        [1, 2],
      ],
      [[user('go'), user('wait')]],
    ])
  })

  test.each(['message', 'message.now'])(
    'as %s to a paused run is part of the request that waits, and uses no turn',
    async (type) => {
      const [begun, release] = [latch(), latch()]
      const work = tool({
        description: 'x',
        async run() {
          begun.open()
          await release.opened
          return 'worked'
        },
      })
      const planned: number[] = []
      const model = scriptedModel(calls({ call: 'c', name: 'work', args: {} }), says('Done.'))
      await using served = await servedAgent({ model, tools: { work }, turn: ({ n }) => void planned.push(n) })
      const watched = new Watched(served.client.start('agent', 'go'))
      await begun.opened
      await watched.run.send('govern', { paused: true })
      release.open()
      await watched.first('iteration.end')
      const sent = [watched.run.send(type, 'one'), watched.run.send(type, 'two')]
      await Promise.all(sent)
      await watched.run.send('govern', { paused: false })
      expect(await watched.run.result).toBe('Done.')
      expect(await Promise.all(sent.map(({ delivery }) => delivery))).toEqual([{ n: 2 }, { n: 2 }])
      expect(model.asked[1]?.slice(-2)).toEqual([user('one'), user('two')])
      expect([model.asked.length, watched.all('iteration').length, planned]).toEqual([2, 2, [1, 2]])
    },
  )

  test('to a run that is paused while `turn` decides is part of the turn that it decides about next', async () => {
    const [deciding, decided] = [latch(), latch()]
    const seen: number[] = []
    const model = scriptedModel(says('One.'))
    await using served = await servedAgent({
      model,
      maxIterations: 2,
      async turn({ messages }) {
        seen.push(messages.length)
        deciding.open()
        await decided.opened
      },
    })
    const run = served.client.start('agent', 'go')
    await deciding.opened
    await run.send('govern', { paused: true })
    decided.open()
    const sent = run.send('message', 'wait')
    await sent
    expect(model.asked).toEqual([])
    await run.send('govern', { paused: false })
    expect(await run.result).toBe('One.')
    expect(await sent.delivery).toEqual({ n: 1 })
    expect([seen, model.asked]).toEqual([[1, 2], [[user('go'), user('wait')]]])
  })

  test('in the usual mode comes in the next turn, and in mode after behind the answer', async () => {
    const { model, release } = patient()
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    const after = watched.run.send('message.after', 'then this')
    const next = watched.run.send('message', 'first this')
    await Promise.all([after, next])
    release.open()
    expect(await watched.run.result).toBe('Well, hm.Two.Three.')
    expect([await next.delivery, await after.delivery]).toEqual([{ n: 2 }, { n: 3 }])
    expect(model.asked[2]).toEqual([
      ...[user('go'), assistant('Well, hm.'), user('first this'), assistant('Two.'), user('then this')],
    ])
  })

  test('is reported to every reader of the run, with its id and its turn', async () => {
    const { model, release } = patient()
    await using served = await servedAgent({ model })
    const run = served.client.start('agent', 'go')
    const watched = new Watched(run)
    const { id } = await run.opened
    const other = new Watched(served.another().attach('agent', id, { after: 'start' }))
    await watched.first('token')
    await run.send('message', 'and?')
    release.open()
    const { input, n } = await other.first('notice', ({ code }) => code === 'input_taken')
    expect([input, n]).toEqual([expect.any(Uint8Array), 2])
    await watched.over
  })

  test('that the run does not come to is lost with its end, and stays in the conversation', async () => {
    const { model } = patient()
    let kept: Message[] = []
    await using served = await servedAgent({ model, onFinish: (all) => void (kept = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    const sent = watched.run.send('message.after', 'too late')
    await sent
    await watched.run.cancel()
    expect(await sent.delivery).toEqual({ lost: 'cancelled' })
    expect(kept.at(-1)).toEqual(user('too late'))
  })

  test('in mode after is lost where maxIterations allows no further turn', async () => {
    const { model, release } = patient()
    await using served = await servedAgent({ model, maxIterations: 2 })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    const next = watched.run.send('message', 'first this')
    const after = watched.run.send('message.after', 'then this')
    await Promise.all([next, after])
    release.open()
    expect(await watched.run.result).toBe('Well, hm.Two.')
    expect([await next.delivery, await after.delivery]).toEqual([{ n: 2 }, { lost: 'done' }])
  })

  test.each([
    ['stops the run', (run: Run) => run.cancel()],
    ['stops the run in the turn that it saw', (run: Run) => run.cancel({ ifSeq: 1_000 })],
  ])('has an unknown end where its client %s with items unread that may have its report', async (_, stop) => {
    const model = scriptedModel(async function* ({ signal }: ModelRequest) {
      yield { type: 'text', text: 'Well, ' }
      await aborted(signal)
      signal.throwIfAborted()
    })
    await using served = await servedAgent({ model })
    const run = served.client.start('agent', 'go', { policy: 'log', credit: 1 })
    await eventually(() => model.asked.length === 1, 'the first request')
    const sent = run.send('message.now', 'shorter')
    await sent
    await eventually(() => model.asked.length === 2, 'the request with the message')
    await stop(run)
    expect(await sent.delivery).toEqual({ lost: 'unknown' })
  })

  test('has an unknown end where the items that may have its report are missing', async () => {
    const { model } = patient()
    await using served = await servedAgent({ model })
    const run = served.client.start('agent', 'go', { policy: 'latest', credit: 1 })
    await eventually(() => model.asked.length === 1, 'the first request')
    const sent = run.send('message.now', 'shorter')
    await sent
    await eventually(() => served.server.liveRuns === 0, 'the end of the run')
    expect((await run.end).outcome).toBe('done')
    expect(await sent.delivery).toEqual({ lost: 'unknown' })
  })

  test('that was refused is lost as well, and unknown where the connection does not come back', async () => {
    const { model } = patient()
    await using served = await servedAgent({ model, maxIterations: 1 })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    const refused = watched.run.send('message', 'x')
    await expect(refused).rejects.toMatchObject({ code: 'not_found' })
    watched.run.detach()
    expect(await refused.delivery).toEqual({ lost: 'unknown' })
  })
})
