import { describe, expect, test } from 'vitest'
import { agent, MillraceError, type StepContext, workflow } from '../../../server/index.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
import { servedWorkflow, stepsOf } from '../../helpers/workflow-run.ts'

describe('a function that is a branch', () => {
  test('is stopped alone by a client: its signal aborts, and what recovers it takes its place', async () => {
    let isAborted = false
    const two = workflow({
      steps: (flow) =>
        flow
          .step(
            'load',
            async function* (_, { signal }) {
              yield 'loading '
              await aborted(signal)
              isAborted = true
              signal.throwIfAborted()
            },
            { branch: true, recover: () => 'nothing' },
          )
          .step('end', (found) => `found ${found}`),
    })
    await using served = await servedWorkflow(two)
    const watched = served.start(null)
    const { agent: load } = await watched.first('agent.start', ({ name }) => name === 'load')
    const { agent: whose } = await watched.first('token')
    expect(whose).toBe(load)
    expect(await watched.run.cancel({ agent: load!, note: 'no need' })).toMatchObject({
      outcome: 'cancelled',
      settled: true,
      note: 'no need',
    })
    expect(await watched.run.result).toBe('found nothing')
    expect(isAborted).toBe(true)
    expect(stepsOf(watched)).toContain('load failed')
  })

  test('is paused and resumed alone: it sends no request to a model meanwhile, and its siblings do', async () => {
    const model = scriptedModel(says('a door'), says('a mill'))
    const ready = latch()
    const both = workflow({
      steps: (flow) =>
        flow.parallel('ask', (branch) => ({
          held: branch.step(
            'one',
            async (_, { ai, emit }) => {
              await emit('ready')
              await ready.opened
              return ai.complete('what is it?', { model })
            },
            { branch: true },
          ),
          free: branch.step('two', async (_, { ai }) => {
            await ready.opened
            return ai.complete('what is that?', { model })
          }),
        })),
    })
    await using served = await servedWorkflow(both)
    const watched = served.start(null)
    const { agent: held } = await watched.first('agent.start', ({ name }) => name === 'ask/held/one')
    await watched.first('token')
    await watched.run.send('govern', { agent: held, paused: true })
    ready.open()
    await watched.first('step', ({ id, status }) => id === 'ask/free/two' && status === 'done')
    expect(model.asked).toHaveLength(1)
    await watched.run.send('govern', { agent: held, paused: false })
    expect(await watched.run.result).toEqual({ held: 'a mill', free: 'a door' })
  })

  test('is slowed down alone: it takes no more of its model than that, and its siblings do', async () => {
    const asked = { slow: 0, free: 0 }
    const ready = latch()
    const endless = (name: keyof typeof asked) =>
      scriptedModel(async function* () {
        await ready.opened
        while (asked[name] < 40) {
          asked[name]++
          yield { type: 'text', text: 'x' }
        }
        yield { type: 'finish', stop: 'stop' }
      })
    const reading =
      (name: keyof typeof asked) =>
      async (_: unknown, { ai }: StepContext): Promise<number> => {
        let length = 0
        for await (const text of ai.streamCompletion('go', { model: endless(name) })) length += text.length
        return length
      }
    const both = workflow({
      steps: (flow) =>
        flow.parallel('read', (branch) => ({
          slow: branch.step('one', reading('slow'), { branch: true }),
          free: branch.step('two', reading('free')),
        })),
    })
    const clock = handClock()
    await using served = await servedWorkflow(both, { runtime: clock })
    const watched = served.start(null)
    const { agent } = await watched.first('agent.start', ({ name }) => name === 'read/slow/one')
    await watched.run.send('govern', { agent, perSec: 100 })
    ready.open()
    await watched.first('step', ({ id, status }) => id === 'read/free/two' && status === 'done')
    for (let piece = 1; piece <= 10; piece++) {
      // One more waits for its time.
      await eventually(() => asked.slow > piece, `piece ${piece} is taken`)
      await watched.run.send('govern', {})
      expect(asked).toEqual({ slow: piece + 1, free: 40 })
      clock.advance(10)
    }
    await watched.run.send('govern', { agent, perSec: null })
    expect(await watched.run.result).toEqual({ slow: 40, free: 40 })
  })

  test('is not tried again while it is paused', async () => {
    const failing = latch()
    const attempts: number[] = []
    const flaky = workflow({
      steps: (flow) =>
        flow.parallel('all', (branch) => ({
          one: branch.step(
            'load',
            async (_, { step }) => {
              attempts.push(step.attempt)
              await failing.opened
              if (step.attempt === 1) throw new MillraceError('unavailable', 'not yet')
              return step.attempt
            },
            { retry: { attempts: 2, delayMs: 1 } },
          ),
        })),
    })
    const clock = handClock()
    await using served = await servedWorkflow(flaky, { runtime: clock })
    const watched = served.start(null)
    const { agent } = await watched.first('agent.start')
    await watched.first('step', ({ id }) => id === 'all/one/load')
    await watched.run.send('govern', { agent, paused: true })
    failing.open()
    await watched.first('step', ({ status }) => status === 'failed')
    clock.advance(10)
    await watched.run.send('govern', {})
    expect(attempts).toEqual([1])
    await watched.run.send('govern', { agent, paused: false })
    expect(await watched.run.result).toEqual({ one: 2 })
  })

  test('begins no further item of a map while it is paused', async () => {
    const isOpen = latch()
    const begun: number[] = []
    const items = workflow({
      steps: (flow) =>
        flow.map('items', {
          over: () => [1, 2, 3],
          async each(n) {
            begun.push(n)
            await isOpen.opened
            return n
          },
          concurrency: 1,
        }),
    })
    await using served = await servedWorkflow(items)
    const watched = served.start(null)
    await eventually(() => begun.length === 1, 'the first item is under way')
    await watched.run.send('govern', { paused: true })
    isOpen.open()
    await watched.run.send('govern', {})
    expect(begun).toEqual([1])
    await watched.run.send('govern', { paused: false })
    expect(await watched.run.result).toEqual([1, 2, 3])
  })

  test('is tried again as another child, and keeps its result', async () => {
    const flaky = workflow({
      steps: (flow) =>
        flow.step(
          'load',
          (_, { step }) => {
            if (step.attempt === 1) throw new MillraceError('unavailable', 'not yet')
            return { attempt: step.attempt }
          },
          { branch: true, retry: { attempts: 2, delayMs: 1 } },
        ),
    })
    await using served = await servedWorkflow(flaky)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual({ attempt: 2 })
    expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(['error', 'ok'])
  })
})

describe('a branch that waits', () => {
  test('is stopped by a client, with what it asks, and its siblings go on', async () => {
    const review = workflow({
      steps: (flow) =>
        flow.parallel(
          'review',
          (branch) => ({ boss: branch.approve('boss'), peer: branch.approve('peer').step('say', () => 'fine') }),
          { recover: () => 'skipped' },
        ),
    })
    await using served = await servedWorkflow(review)
    const watched = served.start(null)
    const { agent: boss } = await watched.first('agent.start', ({ name }) => name === 'review/boss')
    const asked = await watched.first('request', ({ agent }) => agent === boss)
    const other = await watched.first('request', ({ agent }) => agent !== boss)
    expect(await watched.run.cancel({ agent: boss! })).toMatchObject({ outcome: 'cancelled', settled: true })
    await expect(watched.run.send('answer', { request: asked.id, value: true })).rejects.toThrow()
    await watched.run.send('answer', { request: other.id, value: true })
    expect(await watched.run.result).toEqual({ boss: 'skipped', peer: 'fine' })
  })
})

describe('a branch that has ended', () => {
  test('never changes again: no order, no answer and no cancel of any kind reaches it', async () => {
    const release = latch()
    const writer = agent({ model: scriptedModel(says('Once.')) })
    const story = workflow({
      steps: (flow) =>
        flow.parallel('write', (branch) => ({
          quick: branch.step('quick', writer, { input: () => 'a word' }),
          slow: branch.step('slow', () => release.opened),
        })),
    })
    await using served = await servedWorkflow(story)
    const watched = served.start(null)
    const { agent: quick } = await watched.first('agent.start', ({ name }) => name === 'write/quick')
    await watched.first('agent.end', ({ agent }) => agent === quick)
    const before = await served.client.attach('work', quick!).end
    for (const cascade of [true, false]) {
      const receipt = await served.client.attach('work', quick!).cancel({ cascade })
      expect(receipt).toEqual({ confirmed: true, outcome: 'done' })
    }
    expect(await watched.run.cancel({ agent: quick! })).toEqual({ confirmed: false, code: 'not_found' })
    await expect(watched.run.send('govern', { agent: quick, paused: true })).rejects.toMatchObject({
      code: 'not_found',
    })
    release.open()
    await watched.over
    expect(await served.client.attach('work', quick!).end).toEqual(before)
    expect(watched.all('agent.end').filter(({ agent }) => agent === quick)).toHaveLength(1)
    expect(
      watched
        .all('step')
        .filter(({ id }) => id === 'write/quick')
        .map(({ status }) => status),
    ).toEqual(['start', 'done'])
  })
})
