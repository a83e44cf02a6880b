import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Runtime } from '../../../protocol/runtime.ts'
import { actor, agent, anonymous, createServer, MillraceError, tool, workflow } from '../../../server/index.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, latch, silent } from '../../helpers/test-actors.ts'
import { servedWorkflow, stepsOf } from '../../helpers/workflow-run.ts'

describe('the steps of a workflow', () => {
  test('follow one another, and each says how it begins and ends, with what it gave', async () => {
    const letters = workflow({
      input: z.object({ word: z.string() }),
      steps: (flow) =>
        flow
          .step('split', ({ word }) => Array.from(word))
          .step('turn', async (all) => all.reverse())
          .step('join', (all, { input }) => `${input.word} is ${all.join('')}`),
    })
    await using served = await servedWorkflow(letters)
    const watched = served.start({ word: 'mill' })
    expect(await watched.run.result).toBe('mill is llim')
    expect(await watched.over).toBeUndefined()
    expect(watched.comparable).toEqual([
      { type: 'step', id: 'split', name: 'split', status: 'start' },
      { type: 'step', id: 'split', name: 'split', status: 'done', ms: 0, output: ['m', 'i', 'l', 'l'] },
      { type: 'step', id: 'turn', name: 'turn', status: 'start' },
      { type: 'step', id: 'turn', name: 'turn', status: 'done', ms: 0, output: ['l', 'l', 'i', 'm'] },
      { type: 'step', id: 'join', name: 'join', status: 'start' },
      { type: 'step', id: 'join', name: 'join', status: 'done', ms: 0, output: 'mill is llim' },
    ])
  })

  test('stream what a generator yields, report progress, and give the text of one that returns nothing', async () => {
    const story = workflow({
      steps: (flow) =>
        flow
          .step('write', async function* (_, { progress }) {
            yield 'Once '
            await progress({ current: 1, total: 2 })
            yield { type: 'data' as const, name: 'mood', value: 'calm' }
            yield 'upon'
          })
          .step('count', (text) => text.length),
    })
    await using served = await servedWorkflow(story)
    const watched = served.start(null)
    expect(await watched.run.result).toBe(9)
    expect(watched.text).toBe('Once upon')
    expect(watched.all('progress')).toMatchObject([{ current: 1, total: 2, step: 'write' }])
    expect(watched.all('data')).toMatchObject([{ name: 'mood', value: 'calm' }])
  })

  test('may be agents: their events name a child run, which is named after the step', async () => {
    const writer = agent({ model: scriptedModel(says('a draft')) })
    const drafts = workflow({
      input: z.string(),
      steps: (flow) =>
        flow
          .step('draft', writer, { input: (topic) => ({ prompt: topic }) })
          .step('quiet', writer, { streaming: false })
          .step('end', (text, { usage }) => ({ text, usage })),
    })
    await using served = await servedWorkflow(drafts)
    const watched = served.start('mills')
    expect(await watched.run.result).toMatchObject({ text: 'a draft', usage: { input: 20, output: 4 } })
    const started = watched.all('agent.start')
    expect(started.map(({ name }) => name)).toEqual(['draft', 'quiet'])
    const spoke = watched.all('token').map(({ agent: whose, text }) => ({ whose, text }))
    expect(spoke).toEqual([{ whose: started[0]?.agent, text: 'a draft' }])
  })

  test('run side by side in branches, each a child of its own, and give all results together', async () => {
    const both = { a: latch(), b: latch() }
    const pair = workflow({
      steps: (flow) =>
        flow.parallel('pair', (branch) => ({
          // Each waits for the other: one after the other, they would never end.
          a: branch.step('one', async () => (both.a.open(), await both.b.opened, 1)),
          b: branch.step('two', async () => (both.b.open(), await both.a.opened, 2)).step('twice', (n) => n * 2),
        })),
    })
    await using served = await servedWorkflow(pair)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual({ a: 1, b: 4 })
    expect(watched.all('agent.start').map(({ name }) => name)).toEqual(['pair/a', 'pair/b'])
    const agentOf = (name: string) => watched.all('agent.start').find((event) => event.name === name)?.agent
    expect(watched.all('step').find(({ id }) => id === 'pair/b/twice')?.agent).toBe(agentOf('pair/b'))
    expect(stepsOf(watched).filter((step) => step.startsWith('pair done'))).toEqual(['pair done'])
  })

  test('go one way of several, and say which are skipped', async () => {
    const sized = workflow({
      input: z.number(),
      steps: (flow) =>
        flow
          .route(
            'size',
            (n) => (n > 10 ? 'large' : 'small'),
            (way) => ({ large: way.step('halve', (n) => n / 2), small: way.step('double', (n) => n * 2) }),
          )
          .step('name', (n) => `it is ${n}`),
    })
    await using served = await servedWorkflow(sized)
    const watched = served.start(20)
    expect(await watched.run.result).toBe('it is 10')
    expect(stepsOf(watched)).toEqual([
      'size start',
      'size/small skipped',
      'size/large start',
      'size/large/halve start',
      'size/large/halve done',
      'size/large done',
      'size done',
      'name start',
      'name done',
    ])
  })

  test('take the way `else` for a name without one, and fail without it', async () => {
    const routed = (cases: 'else' | 'other') =>
      workflow({
        input: z.string(),
        steps: (flow) =>
          flow.route(
            'which',
            (name) => name,
            (way) => ({ [cases]: way.step('one', () => 1) }),
          ),
      })
    await using served = await servedWorkflow(routed('else'))
    expect(await served.start('unknown').run.result).toBe(1)
    await using strict = await servedWorkflow(routed('other'))
    await expect(strict.start('constructor').run.result).rejects.toMatchObject({
      code: 'actor_failed',
      message: 'step which failed: there is no way "constructor"; ways: other',
    })
  })

  test('are done again in a loop until it is over, at most as often as it may', async () => {
    const grow = workflow({
      input: z.object({ n: z.number(), to: z.number() }),
      steps: (flow) =>
        flow.loop('grow', (turn) => turn.step('add', ({ n, to }) => ({ n: n + 1, to })), {
          until: ({ n, to }) => n >= to,
          max: 4,
        }),
    })
    await using served = await servedWorkflow(grow)
    expect(await served.start({ n: 0, to: 3 }).run.result).toEqual({ n: 3, to: 3 })
    const failed = served.start({ n: 0, to: 9 })
    await expect(failed.run.result).rejects.toMatchObject({ code: 'max_iterations', details: { step: 'grow' } })
    expect(stepsOf(failed).filter((step) => step.endsWith('start'))).toEqual([
      'grow start',
      ...[1, 2, 3, 4].flatMap((n) => [`grow[${n}] start`, `grow[${n}]/add start`]),
    ])
  })

  test('include those of another workflow, whose ids begin with its name, and whose schema checks what it gets', async () => {
    const inner = workflow({ input: z.object({ n: z.number() }), steps: (flow) => flow.step('add', ({ n }) => n + 1) })
    const outer = workflow({
      input: z.number(),
      steps: (flow) =>
        flow
          .step('sub', inner, { input: (n) => ({ n }) })
          .step('again', inner, { input: (n) => ({ n: n > 5 ? ('x' as never) : n }) }),
    })
    await using served = await servedWorkflow(outer)
    const watched = served.start(1)
    expect(await watched.run.result).toBe(3)
    expect(stepsOf(watched)).toContain('sub/add done')
    await expect(served.start(9).run.result).rejects.toMatchObject({ code: 'invalid_input' })
  })
})

describe('a step that fails', () => {
  test('ends the run with its name, and the server alone learns of an error that is not ours', async () => {
    const broken = workflow({
      steps: (flow) =>
        flow
          .step('good', () => 1)
          .parallel('many', (branch) => ({
            bad: branch.step('deep', () => {
              throw new Error('a secret')
            }),
          })),
    })
    await using served = await servedWorkflow(broken)
    const watched = served.start(null)
    await expect(watched.run.result).rejects.toMatchObject({
      code: 'actor_failed',
      message: "step many/bad/deep failed; the server's log says why",
      details: { step: 'many/bad/deep' },
    })
    expect(stepsOf(watched).filter((step) => step.endsWith('failed'))).toEqual([
      'many/bad/deep failed',
      'many/bad failed',
      'many failed',
    ])
    expect(JSON.stringify(watched.events)).not.toContain('secret')
    expect(served.errors).toEqual([expect.objectContaining({ message: 'a secret' })])
  })

  test('is tried again as its policy says, and each attempt is shown', async () => {
    let tries = 0
    const shaky = workflow({
      steps: (flow) =>
        flow.step(
          'shaky',
          (_, { step }) => {
            tries++
            if (step.attempt < 3) throw new MillraceError('unavailable', `not yet ${step.attempt}`)
            return 'now'
          },
          { retry: { attempts: 3, delayMs: 0 } },
        ),
    })
    await using served = await servedWorkflow(shaky)
    const watched = served.start(null)
    expect(await watched.run.result).toBe('now')
    expect(tries).toBe(3)
    expect(watched.comparable).toEqual([
      { type: 'step', id: 'shaky', name: 'shaky', status: 'start' },
      { type: 'step', id: 'shaky', name: 'shaky', status: 'failed', error: 'step shaky failed: not yet 1', retryMs: 0 },
      { type: 'step', id: 'shaky', name: 'shaky', status: 'start', attempt: 2 },
      {
        type: 'step',
        id: 'shaky',
        name: 'shaky',
        status: 'failed',
        error: 'step shaky failed: not yet 2',
        attempt: 2,
        retryMs: 0,
      },
      { type: 'step', id: 'shaky', name: 'shaky', status: 'start', attempt: 3 },
      { type: 'step', id: 'shaky', name: 'shaky', status: 'done', ms: 0, output: 'now' },
    ])
  })

  test('is not tried again where another attempt cannot help, nor once its attempts are used up', async () => {
    let tries = 0
    const failing = (error: Error, when?: (error: unknown) => boolean) =>
      workflow({
        steps: (flow) =>
          flow.step(
            'one',
            () => {
              tries++
              throw error
            },
            { retry: { attempts: 3, delayMs: 0, when } },
          ),
      })
    for (const [error, when, expected] of [
      [new MillraceError('invalid_input', 'no'), undefined, 1],
      [new MillraceError('invalid_input', 'no'), () => true, 3],
      [new Error('any'), undefined, 3],
      [new Error('any'), () => false, 1],
    ] as const) {
      tries = 0
      await using served = await servedWorkflow(failing(error, when))
      await expect(served.start(null).run.result).rejects.toMatchObject({ details: { step: 'one' } })
      expect(tries).toBe(expected)
    }
  })

  test('is stopped when it takes too long', async () => {
    let reason: unknown
    const slow = workflow({
      steps: (flow) =>
        flow.step(
          'slow',
          async (_, { signal }) => {
            await aborted(signal)
            reason = signal.reason
          },
          { timeoutMs: 5 },
        ),
    })
    await using served = await servedWorkflow(slow)
    await expect(served.start(null).run.result).rejects.toMatchObject({
      code: 'timeout',
      message: 'step slow failed: it took longer than 5 ms',
    })
    await eventually(() => reason !== undefined, 'the step learns of it')
    expect(MillraceError.is(reason, 'timeout')).toBe(true)
  })

  test('that takes too long stops its requests to models, however it asked', async () => {
    const signals: AbortSignal[] = []
    const mute = scriptedModel(async function* ({ signal }) {
      signals.push(signal)
      await aborted(signal)
      yield* []
    })
    const asks = workflow({
      steps: (flow) =>
        flow
          .step(
            'ask',
            async (_, { ai, model }) => {
              const bound = model(mute)
              const all = [
                ai.complete('a', { model: mute }),
                drained(ai.streamCompletion('b', { model: mute })),
                drained(bound.text('c')),
                drained(bound.stream({ messages: [{ role: 'user', content: 'd' }] })),
              ]
              const codes = await Promise.all(
                all.map((one) => one.catch((error: unknown) => (error as MillraceError).code)),
              )
              throw new Error(codes.join())
            },
            { timeoutMs: 5, recover: () => 'late' },
          )
          // The run goes on, so nothing else has stopped them.
          .step('look', () => signals.map(({ aborted, reason }) => aborted && (reason as MillraceError).code)),
    })
    await using served = await servedWorkflow(asks)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual(['timeout', 'timeout', 'timeout', 'timeout'])
  })

  test('that takes too long cancels its tool calls, and makes no further one', async () => {
    const slow = tool({
      description: 'takes long',
      run: async (_, { signal }) => {
        await aborted(signal)
        return 'too late'
      },
    })
    let further: unknown
    const isOver = latch()
    const calling = workflow({
      steps: (flow) =>
        flow
          .step(
            'call',
            async (_, { tools }) => {
              const bound = tools({ slow })
              await bound.call({ call: 'one', name: 'slow', args: {} })
              further = await bound.call({ call: 'two', name: 'slow', args: {} }).catch((error: unknown) => error)
              isOver.open()
            },
            { timeoutMs: 5, recover: () => 'late' },
          )
          .step('wait', () => isOver.opened),
    })
    await using served = await servedWorkflow(calling)
    const watched = served.start(null)
    await watched.run.result
    await watched.over
    expect(watched.all('tool.result')).toMatchObject([
      { call: 'one', outcome: 'cancelled', receipt: { by: 'parent', settled: true } },
    ])
    expect(MillraceError.is(further, 'timeout')).toBe(true)
  })

  test('is awaited by a cancel of the run, also where the time of its attempt is limited', async () => {
    for (const options of [{ timeoutMs: LONG_MS }, { retry: { attempts: 2 } }]) {
      const isBegun = latch()
      let isOver = false
      const slow = workflow({
        steps: (flow) =>
          flow.step(
            'slow',
            async (_, { signal }) => {
              isBegun.open()
              await aborted(signal)
              for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
              isOver = true
            },
            options,
          ),
      })
      await using served = await servedWorkflow(slow)
      const { run } = served.start(null)
      await isBegun.opened
      expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
      expect(isOver).toBe(true)
    }
  })

  test('that is an actor is tried again once its child run has ended', async () => {
    for (const streaming of [true, false]) {
      let active = 0
      let begun = 0
      const slow = actor({
        async *stream(_: unknown, { signal }) {
          expect(++active).toBe(1)
          try {
            if (++begun === 1) {
              yield 'first'
              await aborted(signal)
              // It takes a while to stop.
              for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
            } else yield 'second'
          } finally {
            active--
          }
        },
      })
      const work = workflow({
        steps: (flow) =>
          flow.step('slow', slow, {
            streaming,
            timeoutMs: LONG_MS,
            retry: { attempts: 2, delayMs: 0, when: (error) => MillraceError.is(error, 'timeout') },
          }),
      })
      await using served = await servedWorkflow(work, { runtime: firstIsShort(LONG_MS) })
      const watched = served.start(null)
      expect(await watched.run.result).toBe('second')
      await watched.over
      expect(watched.all('step').map(({ status }) => status)).toEqual(['start', 'failed', 'start', 'done'])
      expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(['cancelled', 'ok'])
    }
  })

  test('leaves nothing behind that its next attempt would meet: a child run by the same key is stopped', async () => {
    const ended: string[] = []
    const part = actor({
      async *stream(attempt: unknown, { signal }) {
        yield* []
        if (attempt === 1) await aborted(signal)
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
        ended.push(`attempt ${String(attempt)}, ${signal.aborted ? 'stopped' : 'whole'}`)
      },
    })
    const fails = actor({
      async ask(attempt: unknown) {
        if (attempt === 1) throw new MillraceError('unavailable', 'not now', { retryable: true })
      },
    })
    const work = workflow({
      steps: (flow) =>
        flow.step(
          'both',
          async (_, { spawn, step: { attempt } }) => {
            const children = [spawn(part, attempt, { key: 'part' }), spawn(fails, attempt, { key: 'fails' })]
            await Promise.all(children.map(({ result }) => result))
            return attempt
          },
          { retry: { attempts: 2, delayMs: 0 } },
        ),
    })
    await using served = await servedWorkflow(work)
    expect(await served.start(null).run.result).toBe(2)
    expect(ended).toEqual(['attempt 1, stopped', 'attempt 2, whole'])
  })

  test('yields nothing more once it took too long, though its generator goes on', async () => {
    const isClosed = latch()
    const deaf = workflow({
      steps: (flow) =>
        flow
          .step(
            'deaf',
            async function* (_, { signal }) {
              try {
                yield 'in time'
                await aborted(signal)
                yield ', too late'
              } finally {
                isClosed.open()
              }
            },
            { timeoutMs: 5, recover: () => '' },
          )
          .step('wait', () => isClosed.opened),
    })
    await using served = await servedWorkflow(deaf)
    const watched = served.start(null)
    await watched.run.result
    await watched.over
    expect(watched.text).toBe('in time')
  })

  test('says nothing more once it took too long, though its code goes on, and its next attempt is alone', async () => {
    const said: unknown[] = []
    const spawned: unknown[] = []
    const begun = { ask: (given: unknown) => void spawned.push(given) }
    const isOver = latch()
    const deaf = workflow({
      steps: (flow) =>
        flow.step(
          'deaf',
          async (_, context) => {
            if (context.step.attempt > 1) return 'second'
            // It ignores its signal but for knowing when it is late.
            await aborted(context.signal)
            for (const say of [
              () => context.progress({ current: 1 }),
              () => context.emit('late text'),
              () => context.sleepUntil(0),
              () => context.resumed(),
              async () => context.spawn(actor(begun), 'a child', { detached: true }),
              async () => context.govern({ budget: { tokens: 1 } }),
            ])
              said.push(await say().catch((error: unknown) => (error as MillraceError).code))
            isOver.open()
            return 'first'
          },
          { timeoutMs: 5, retry: { attempts: 2, delayMs: 0, when: () => true } },
        ),
    })
    await using served = await servedWorkflow(deaf)
    const watched = served.start(null)
    expect(await watched.run.result).toBe('second')
    await isOver.opened
    expect(said).toEqual(Array.from({ length: 6 }, () => 'timeout'))
    expect(spawned).toEqual([])
    expect(watched.events.filter(({ type }) => type === 'progress' || type === 'token')).toEqual([])
  })

  test('need not wait for what it says: what comes too late is dropped, and disturbs nobody', async () => {
    const isOver = latch()
    const deaf = workflow({
      steps: (flow) =>
        flow.step(
          'deaf',
          async (_, context) => {
            await aborted(context.signal)
            void context.progress({ current: 1 })
            void context.emit('late text')
            isOver.open()
          },
          { timeoutMs: 5, recover: () => 'instead' },
        ),
    })
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', note)
    try {
      await using served = await servedWorkflow(deaf)
      expect(await served.start(null).run.result).toBe('instead')
      await isOver.opened
    } finally {
      process.off('unhandledRejection', note)
    }
    expect(unhandled).toEqual([])
  })

  test('may be recovered from: the next step gets what takes its place', async () => {
    const recovered = workflow({
      input: z.number(),
      steps: (flow) =>
        flow
          .step(
            'root',
            (n) => {
              if (n < 0) throw new MillraceError('actor_failed', 'a negative number')
              return Math.sqrt(n)
            },
            { recover: ({ code }, n) => `${code} ${n}` },
          )
          .step('show', (root) => `root: ${root}`),
    })
    await using served = await servedWorkflow(recovered)
    expect(await served.start(4).run.result).toBe('root: 2')
    const failed = served.start(-4)
    expect(await failed.run.result).toBe('root: actor_failed -4')
    expect(stepsOf(failed)).toEqual(['root start', 'root failed', 'show start', 'show done'])
  })

  test('is the one that is named, also where what should take its place fails in its turn', async () => {
    const broken = workflow({
      steps: (flow) =>
        flow.step('load', () => Promise.reject(new MillraceError('unavailable', 'down')), {
          recover: () => {
            throw new Error('nothing is kept')
          },
        }),
    })
    await using served = await servedWorkflow(broken)
    await expect(served.start(null).run.result).rejects.toMatchObject({
      code: 'actor_failed',
      message: expect.stringContaining('step load'),
      details: { step: 'load' },
    })
    expect(served.errors).toMatchObject([{ message: 'nothing is kept' }])
  })

  test('in a branch stops its siblings, also where what should take its place fails', async () => {
    const isUp = latch()
    const race = workflow({
      steps: (flow) =>
        flow.parallel(
          'race',
          (branch) => ({
            waits: branch.step('wait', async (_, { signal }) => {
              isUp.open()
              await aborted(signal)
            }),
            fails: branch.step('fail', async () => {
              await isUp.opened
              throw new MillraceError('unavailable', 'down')
            }),
          }),
          {
            recover: (error) => {
              throw new MillraceError('actor_failed', `no way around: ${error.code}`)
            },
          },
        ),
    })
    await using served = await servedWorkflow(race)
    const watched = served.start(null)
    await expect(watched.run.result).rejects.toMatchObject({
      message: expect.stringContaining('no way around: unavailable'),
      details: { step: 'race/fails' },
    })
    await watched.over
    const steps = stepsOf(watched)
    expect(steps.indexOf('race/waits failed')).toBeGreaterThan(0)
    expect(steps.at(-1)).toBe('race failed')
  })

  test('in a branch stops its siblings, and each of them is told', async () => {
    const isUp = latch()
    let stopped: unknown
    const race = workflow({
      steps: (flow) =>
        flow.parallel('race', (branch) => ({
          waits: branch.step('wait', async (_, { signal }) => {
            isUp.open()
            await aborted(signal)
            stopped = signal.reason
          }),
          fails: branch.step('fail', async () => {
            await isUp.opened
            throw new MillraceError('content_filtered', 'no')
          }),
        })),
    })
    await using served = await servedWorkflow(race)
    const watched = served.start(null)
    await expect(watched.run.result).rejects.toMatchObject({ code: 'content_filtered' })
    expect(MillraceError.is(stopped, 'cancelled')).toBe(true)
    expect(stepsOf(watched)).toContain('race/waits failed')
    await eventually(() => served.server.liveRuns === 0, 'all branches settle')
  })
})

describe('a branch', () => {
  test('is stopped alone by a client, and the others go on', async () => {
    const isUp = latch()
    const goOn = latch()
    const team = workflow({
      steps: (flow) =>
        flow.parallel(
          'team',
          (branch) => ({
            stuck: branch.step('stuck', silent()),
            fine: branch.step('fine', async () => (isUp.open(), await goOn.opened, 'fine')),
          }),
          { recover: (error, name) => `${name}: ${error.code}` },
        ),
    })
    await using served = await servedWorkflow(team)
    const watched = served.start(null)
    const { agent: stuck = '' } = await watched.first('agent.start', ({ name }) => name === 'team/stuck')
    await isUp.opened
    const receipt = await watched.run.cancel({ agent: stuck })
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
    goOn.open()
    expect(await watched.run.result).toEqual({ stuck: 'stuck: cancelled', fine: 'fine' })
  })

  test('is paused alone by a client: its next step waits, and the others go on', async () => {
    const first = latch()
    const done: string[] = []
    const steps = (name: string) => async () => void done.push(name)
    const team = workflow({
      steps: (flow) =>
        flow.parallel('team', (branch) => ({
          held: branch.step('one', () => first.opened).step('two', steps('held')),
          free: branch.step('one', () => first.opened).step('two', steps('free')),
        })),
    })
    await using served = await servedWorkflow(team)
    const watched = served.start(null)
    const { agent: held } = await watched.first('agent.start', ({ name }) => name === 'team/held')
    await watched.first('step', ({ id }) => id === 'team/held/one')
    await watched.run.send('govern', { agent: held, paused: true })
    first.open()
    await watched.first('step', ({ id, status }) => id === 'team/free' && status === 'done')
    expect(done).toEqual(['free'])
    await watched.run.send('govern', { agent: held, paused: false })
    await watched.run.result
    expect(done).toEqual(['free', 'held'])
  })
})

describe('a wait', () => {
  test('for an approval goes on with the value, and ends the run when it is refused', async () => {
    const publish = workflow({
      input: z.string(),
      steps: (flow) =>
        flow.approve('publish', { prompt: (title) => `Publish ${title}?` }).step('end', (title) => `${title} is out`),
    })
    await using served = await servedWorkflow(publish)
    const yes = served.start('Mills')
    const { id, kind, prompt } = await yes.first('request')
    expect({ kind, prompt }).toEqual({ kind: 'confirm', prompt: 'Publish Mills?' })
    await yes.run.send('answer', { request: id, value: true })
    expect(await yes.run.result).toBe('Mills is out')
    const no = served.start('Mills')
    const asked = await no.first('request')
    await no.run.send('answer', { request: asked.id, value: { ok: false, note: 'too long' } })
    await expect(no.run.result).rejects.toMatchObject({
      code: 'forbidden',
      message: 'step publish failed: it was refused: too long',
    })
  })

  test('for an event, an answer or a time gives what the next step needs', async () => {
    const order = workflow({
      input: z.object({ id: z.int() }),
      steps: (flow) =>
        flow
          .ask('paid', { kind: 'event', then: ({ id }, answer) => ({ id, paid: answer === 'paid' }) })
          .wait('pause', ({ id }) => id)
          .wait('no time', new Date(0))
          .step('end', (state) => state),
    })
    await using served = await servedWorkflow(order)
    const watched = served.start({ id: 3 })
    const { id, kind, prompt } = await watched.first('request')
    expect({ kind, prompt }).toEqual({ kind: 'event', prompt: 'paid' })
    await watched.run.send('answer', { request: id, value: 'paid' })
    expect(await watched.run.result).toEqual({ id: 3, paid: true })
  })

  test('for a person ends the run once its own time is over', async () => {
    await using served = await servedWorkflow(
      workflow({ steps: (flow) => flow.approve('publish', { expiresMs: 1 }).step('end', () => 'out') }),
    )
    await expect(served.start(null).run.result).rejects.toMatchObject({
      code: 'timeout',
      details: { step: 'publish' },
    })
  })

  test('for a time ends with a cancel at once', async () => {
    await using served = await servedWorkflow(workflow({ steps: (flow) => flow.wait('long', 1_000_000) }))
    const watched = served.start(null)
    await watched.first('step')
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
  })
})

describe('a definition', () => {
  const one = () => 1
  test.each<[string, () => unknown, string]>([
    ['without steps', () => workflow({ steps: (flow) => flow as never }), 'a workflow needs at least one step'],
    ['with steps that are no function', () => workflow({ steps: [] as never }), 'steps must be a function'],
    ['with a name twice', () => workflow({ steps: (f) => f.step('a', one).step('a', one) }), 'there are two steps a'],
    ['with a path as a name', () => workflow({ steps: (f) => f.step('a/b', one) }), 'a step needs a name of 1 to 64'],
    ['with no code', () => workflow({ steps: (f) => f.step('a', 7 as never) }), 'step a needs a function, or an actor'],
    [
      'with a misspelt option',
      () => workflow({ steps: (f) => f.step('a', one, { retries: 1 } as never) }),
      'unknown option retries of step a',
    ],
    [
      'with no attempts',
      () => workflow({ steps: (f) => f.step('a', one, { retry: { attempts: 0 } }) }),
      'retry of step a needs attempts',
    ],
    [
      'with no branch',
      () => workflow({ steps: (f) => f.parallel('a', () => ({})) }),
      'step a needs at least one branch',
    ],
    [
      'with an empty branch',
      () => workflow({ steps: (f) => f.parallel('a', (b) => ({ b })) }),
      'branch b of step a needs at least one step',
    ],
    [
      'with an endless loop',
      () => workflow({ steps: (f) => f.loop('a', (l) => l.step('b', one as never), {} as never) }),
      'step a needs `until`',
    ],
    [
      'with half an item',
      () => workflow({ steps: (f) => f.map('a', { over: () => [1], each: one, chunk: 0.5 }) }),
      'step a needs a whole number above 0 as chunk',
    ],
    ['with a wait for nothing', () => workflow({ steps: (f) => f.wait('a', -1) }), 'step a needs milliseconds'],
  ])('%s is refused when it is made, and told what to do', (_, make, message) => {
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  test('is refused by a server that lacks the model of an agent in it, and closes what its actors keep open', async () => {
    const lacking = workflow({
      steps: (flow) => flow.parallel('a', (b) => ({ b: b.step('c', agent({ model: 'x:y' }), { input: () => 'hi' }) })),
    })
    expect(() => createServer({ actors: { lacking }, authenticate: anonymous() })).toThrow('x:y')
    let isClosed = false
    const close = async (): Promise<void> => {
      isClosed = true
    }
    const open = { ...tool({ description: 'open', run: () => 1 }), close }
    const keeping = workflow({ steps: (flow) => flow.step('a', agent({ tools: { open } }), { input: () => 'hi' }) })
    await using served = await servedWorkflow(keeping)
    await served.server.close({ drainMs: 0 })
    expect(isClosed).toBe(true)
  })

  test('is an actor like any other: it may be spawned', async () => {
    const inner = workflow({ input: z.number(), steps: (flow) => flow.step('add', (n) => n + 1) })
    const outer = actor({
      async *stream(_: unknown, { spawn }) {
        return yield* spawn(inner, 1)
      },
    })
    await using served = await servedWorkflow(outer)
    expect(await served.start(null).run.result).toBe(2)
  })
})

/** Reads to the end. */
async function drained(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

/** Time enough for an attempt. */
const LONG_MS = 61_000

/** A runtime whose first timer of that time fires soon. */
function firstIsShort(longMs: number): Runtime {
  let isFirst = true
  return {
    ...nodeRuntime,
    setTimer(ms, callback) {
      const isShort = isFirst && ms === longMs
      if (isShort) isFirst = false
      return nodeRuntime.setTimer(isShort ? 5 : ms, callback)
    },
  }
}
