import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../../client-sdk/node.ts'
import {
  type Actor,
  type ActorContext,
  actor,
  agent,
  type Flow,
  MillraceError,
  pipelineTeam,
  type RunEvent,
  type SpawnOptions,
  type Steps,
  supervisorTeam,
  tool,
  workflow,
} from '../../../server/index.ts'
import { nodeRuntime } from '../../../server/runtime.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { holding } from '../../helpers/holding-store.ts'
import { mortal } from '../../helpers/mortal-store.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
import { stepsOf } from '../../helpers/workflow-run.ts'

/** Servers, one after the other, with one store. `kill` ends the process of one. */
function lives(work: object, kept = memoryStore()) {
  const all = {
    kept,
    async begin(runtime = nodeRuntime) {
      const held = holding(kept)
      const store = mortal(held)
      const served = await testServer({ work: work as Actor }, { store, runtime })
      const client = createClient(served.url, { token: 'alice' })
      return {
        client,
        server: served.server,
        kill: () => store.kill(),
        holdStore: () => held.holdAppends(),
        async [Symbol.asyncDispose]() {
          await client.close({ runs: 'detach' })
          await served[Symbol.asyncDispose]()
        },
      }
    },
    async isParked(run: string): Promise<void> {
      let isThere = false
      const look = async (): Promise<void> => {
        isThere = (await kept.find(run))?.parked !== undefined
      }
      await eventually(() => (void look(), isThere), 'the run is parked')
    },
    /** Begins a run that asks something, and ends the process while it waits for the answer. */
    async dieWaiting(): Promise<{ id: string; request: string }> {
      await using first = await all.begin()
      const watched = new Watched(first.client.start('work', null))
      const { id: request } = await watched.first('request')
      const { id } = await watched.run.opened
      await all.isParked(id)
      first.kill()
      return { id, request }
    },
  }
  return all
}

describe('a workflow that waits when its process dies', () => {
  test('goes on in the next one, with what its steps have given, and does none of them again', async () => {
    const done: string[] = []
    const work = workflow({
      steps: (flow) =>
        flow
          .step('first', () => (done.push('first'), { n: 1 }))
          .loop('turns', (turn) => turn.step('add', ({ n }) => (done.push('add'), { n: n + 1 })), {
            until: ({ n }) => n === 3,
          })
          .map('items', { over: ({ n }) => [n, n + 1], each: (n) => (done.push(`item ${n}`), n) })
          .approve('sure')
          .step('last', (items) => (done.push('last'), items)),
    })
    const { begin, dieWaiting } = lives(work)
    const { id, request } = await dieWaiting()
    expect(done).toEqual(['first', 'add', 'add', 'item 3', 'item 4'])
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    await run.send('answer', { request, value: true })
    expect(await run.result).toEqual([3, 4])
    expect(done).toEqual(['first', 'add', 'add', 'item 3', 'item 4', 'last'])
  })

  test('goes on from its steps, also where the code of one has set a checkpoint of its own', async () => {
    const seen: unknown[] = []
    const work = workflow({
      steps: (flow) =>
        flow
          .step('first', (_, context) => {
            context.checkpoint(() => ({ mine: true }))
            return 1
          })
          .approve('sure')
          .step('last', (n, context) => (seen.push(context.restored), n)),
    })
    const { begin, dieWaiting } = lives(work)
    const { id, request } = await dieWaiting()
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    await run.send('answer', { request, value: true })
    expect(await run.result).toBe(1)
    expect(seen).toEqual([undefined])
  })

  test('has kept what its steps have given, and not what the steps of a workflow within it gave on the way', async () => {
    const inner = workflow({ steps: (flow) => flow.step('on-the-way', () => 'left behind').step('last', () => 'kept') })
    const work = workflow({ steps: (flow) => flow.step('whole', inner).approve('sure') })
    const { begin, isParked, kept } = lives(work)
    await using served = await begin()
    const run = served.client.start('work', null)
    const { id } = await run.opened
    await isParked(id)
    const parked = Buffer.from((await kept.find(id))?.parked ?? []).toString('latin1')
    expect(parked).toContain('kept')
    expect(parked).not.toContain('left behind')
    await run.cancel()
  })

  test('goes on in all of its branches, whatever each of them waits for', async () => {
    const done: string[] = []
    const paid: string[] = []
    const pay = tool({
      description: 'pays',
      input: z.object({ to: z.string() }),
      needsApproval: true,
      run: ({ to }) => (paid.push(to), `paid ${to}`),
    })
    const payer = agent({
      tools: { pay },
      model: scriptedModel(calls({ call: 'c', name: 'pay', args: { to: 'Bob' } }), says('it is paid')),
    })
    const work = workflow({
      steps: (flow) =>
        flow
          .step('first', () => (done.push('first'), 1))
          .parallel('both', (branch) => ({
            asks: branch
              .route(
                'way',
                () => 'x',
                (way) => ({ x: way.approve('sure'), y: way.step('no', () => 0) }),
              )
              .step('after', (n) => (done.push('after'), n)),
            pays: branch
              .step('before', () => (done.push('before'), 'pay'))
              .step('pay', payer, {
                input: () => 'pay Bob',
              }),
          }))
          .step('last', (both) => (done.push('last'), both)),
    })
    const { begin, isParked } = lives(work)
    let id = ''
    const requests: string[] = []
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      const asked = await watched.first('request', ({ kind }) => kind === 'confirm')
      const approval = await watched.first('request', ({ call }) => call !== undefined)
      requests.push(asked.id, approval.call ?? '')
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    const [request = '', call = ''] = requests
    await watched.run.opened
    await watched.run.send('approve', { call, ok: true })
    await watched.run.send('answer', { request, value: true })
    expect(await watched.run.result).toEqual({ asks: 1, pays: 'it is paid' })
    expect(done).toEqual(['first', 'before', 'after', 'last'])
    expect(paid).toEqual(['Bob'])
    // Nobody is told twice.
    const steps = stepsOf(watched)
    expect(steps).toEqual([...new Set(steps)])
    expect(watched.all('agent.start').map(({ name }) => name)).toEqual(['both/asks', 'both/pays', 'both/pays/pay'])
  })

  test('does not report again how far a map is', async () => {
    const work = workflow({
      steps: (flow) =>
        flow.map('items', { over: () => [1, 2, 3], chunk: 1 }, (item) =>
          item.route(
            'which',
            (n) => (n === 2 ? 'asks' : 'goes'),
            (way) => ({ asks: way.approve('sure'), goes: way.step('same', (n) => n) }),
          ),
        ),
    })
    const { begin, dieWaiting } = lives(work)
    const { id, request } = await dieWaiting()
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    await watched.run.opened
    await watched.run.send('answer', { request, value: true })
    expect(await watched.run.result).toEqual([1, 2, 3])
    await watched.over
    expect(watched.all('progress').map(({ current }) => current)).toEqual([1, 2, 3])
  })

  test('waits for the same time, and not for as long again', async () => {
    const work = workflow({ steps: (flow) => flow.wait('pause', 600_000).step('end', () => 'end') })
    const { begin, isParked } = lives(work)
    let id = ''
    {
      await using first = await begin()
      const run = first.client.start('work', null)
      ;({ id } = await run.opened)
      await isParked(id)
      first.kill()
    }
    // The next process begins when that time has come.
    await using second = await begin({ ...nodeRuntime, wallClock: () => Date.now() + 600_000 })
    expect(await second.client.attach('work', id, { after: 'start' }).result).toBe('end')
  })

  test('does nothing more in the process that was closed, also when its time has come there', async () => {
    const done: string[] = []
    const work = workflow({ steps: (flow) => flow.wait('pause', 600_000).step('pay', () => done.push('paid')) })
    const { begin, isParked } = lives(work)
    const clock = handClock()
    let id = ''
    {
      await using first = await begin(clock)
      const run = first.client.start('work', null)
      ;({ id } = await run.opened)
      await isParked(id)
      await first.server.close()
      clock.advance(600_000)
      for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => clock.nextTurn(resolve))
    }
    expect(done).toEqual([])
    await using second = await begin({ ...nodeRuntime, wallClock: () => Date.now() + 600_000 })
    await second.client.attach('work', id, { after: 'start' }).result
    expect(done).toEqual(['paid'])
  })

  test('ends as interrupted in the middle of a step, and another run begins behind the steps that were done', async () => {
    const done: string[] = []
    let isFirst = true
    const work = workflow({
      steps: (flow) =>
        flow
          .step('first', () => (done.push('first'), 1))
          .batch('import', {
            over: () => [1, 2, 3, 4, 5, 6],
            async each(items, { signal }) {
              if (isFirst && items[0] === 5) await aborted(signal)
              signal.throwIfAborted()
              done.push(items.join())
            },
            chunk: 2,
          }),
    })
    const { begin, kept } = lives(work)
    let id = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      const { seq } = await watched.first('progress', ({ current }) => current === 4)
      ;({ id } = await watched.run.opened)
      let stored = 0
      const look = async (): Promise<void> => {
        stored = (await kept.find(id))?.next ?? 0
      }
      await eventually(() => (void look(), stored > seq), 'the progress is stored')
      first.kill()
    }
    isFirst = false
    await using second = await begin()
    await expect(second.client.attach('work', id, { after: 'start' }).result).rejects.toMatchObject({
      code: 'interrupted',
    })
    const again = second.client.start('work', null, { meta: { retryOf: id } })
    expect(await again.result).toEqual({ items: 6 })
    expect(done).toEqual(['first', '1,2', '3,4', '5,6'])
  })

  test('may be retried from the store when it failed in another process', async () => {
    let isBroken = true
    const done: string[] = []
    const work = workflow({
      steps: (flow) =>
        flow
          .step('first', () => (done.push('first'), 7))
          .step('second', (n) => {
            if (isBroken) throw new MillraceError('unavailable', 'down')
            return n
          }),
    })
    const { begin } = lives(work)
    let ids: string[] = []
    {
      await using first = await begin()
      const failed = first.client.start('work', null)
      await failed.end
      const again = first.client.start('work', null, { meta: { retryOf: failed.id } })
      await again.end
      ids = [failed.id ?? '', again.id ?? '']
    }
    isBroken = false
    await using second = await begin()
    expect(await second.client.start('work', null, { meta: { retryOf: ids[1] } }).result).toBe(7)
    expect(done).toEqual(['first'])
  })
})

describe('a supervisor that has handed over when its process dies', () => {
  test('answers with the member that took over, and its lead is not asked again', async () => {
    const led = scriptedModel(
      calls({ call: 'h', name: 'hand_off', args: { member: 'asker', prompt: 'ask' } }),
      says('no'),
    )
    const asker = actor({
      async *stream(_: unknown, { checkpoint, request }) {
        checkpoint(() => ({}))
        yield String(await request({ kind: 'text', prompt: 'What?' }))
      },
    })
    const { begin, isParked } = lives(supervisorTeam({ model: led, members: { asker } }))
    let id = ''
    let request = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', 'ask'))
      ;({ id: request } = await watched.first('request'))
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    await run.send('answer', { request, value: 'that' })
    expect(await run.result).toBe('that')
    expect(led.asked).toHaveLength(1)
  })

  test('hands over once the other calls of its lead are done, if one of them waits when its process dies', async () => {
    const paid: string[] = []
    const pay = tool({
      description: 'pays',
      input: z.object({ to: z.string() }),
      needsApproval: true,
      run: ({ to }) => (paid.push(to), `paid ${to}`),
    })
    const led = scriptedModel(
      calls(
        { call: 'h', name: 'hand_off', args: { member: 'writer', prompt: 'all of it' } },
        { call: 'p', name: 'pay', args: { to: 'Bob' } },
      ),
      says('no'),
    )
    const writer = actor({ ask: (input) => Promise.resolve(input) })
    const { begin, isParked } = lives(supervisorTeam({ model: led, tools: { pay }, members: { writer } }))
    let id = ''
    let request = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', 'ask'))
      ;({ id: request } = await watched.first('request'))
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    await run.send('answer', { request, value: true })
    expect(await run.result).toEqual({ prompt: 'all of it' })
    expect({ paid, asked: led.asked.length }).toEqual({ paid: ['Bob'], asked: 1 })
  })
})

describe('the budget of a team, when its process dies', () => {
  test('stays what a client has made of it', async () => {
    const isOpen = latch()
    const spender = actor({
      async *stream(_: unknown, { checkpoint, request }) {
        checkpoint(() => ({}))
        await isOpen.opened
        const answer = await request({ kind: 'text', prompt: 'What?' })
        yield { type: 'usage', input: 10, output: 0 }
        yield String(answer)
      },
    })
    const { begin, isParked } = lives(pipelineTeam({ members: { spender }, budget: { tokens: 5 } }))
    let id = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', 'spend'))
      await watched.first('agent.start')
      await watched.run.send('govern', { budget: { tokens: 100 } })
      isOpen.open()
      await watched.first('request')
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    const { id: request } = await watched.first('request')
    await watched.run.send('answer', { request, value: 'enough' })
    expect(await watched.run.result).toBe('enough')
  })
})

describe('the tasks of a supervisor, when its process dies', () => {
  test('are known in the next one, with their answers, and those that wait go on', async () => {
    const sure = tool({ description: 'asks', needsApproval: true, run: () => 'sure' })
    let facts = ''
    const led = scriptedModel(
      calls(
        { call: 'a', name: 'start_task', args: { member: 'writer', prompt: 'x' } },
        { call: 'b', name: 'start_task', args: { member: 'broken', prompt: 'y' } },
        { call: 'c', name: 'start_task', args: { member: 'asker', prompt: 'z' } },
      ),
      calls({ call: 's', name: 'sure', args: {} }),
      (request) => {
        const ids = Array.from(
          JSON.stringify(request.messages).matchAll(/task[\\"]+:[\\"]+(r_[\w-]+)/g),
          ([, id]) => id,
        )
        return calls(...ids.map((task, at) => ({ call: `w${at}`, name: 'wait_for_task', args: { task } })))
      },
      (request) => {
        facts = JSON.stringify(
          request.messages.slice(-3).map(({ content }) => JSON.parse(content as string) as unknown),
        )
        return says('done')
      },
    )
    const asker = actor({
      async ask(_: unknown, { checkpoint, request }) {
        checkpoint(() => ({}))
        return request({ kind: 'text', prompt: 'What?' })
      },
    })
    const writer = actor({ ask: (input) => Promise.resolve(input) })
    const broken = actor({ ask: () => Promise.reject(new MillraceError('unavailable', 'down')) })
    const team = supervisorTeam({ model: led, tasks: true, tools: { sure }, members: { writer, broken, asker } })
    const { begin, isParked } = lives(team)
    let id = ''
    let requests: string[] = []
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', 'ask'))
      await watched.first('request', ({ call }) => call === 's')
      await watched.first('request', ({ agent }) => agent !== undefined)
      requests = watched.all('request').map((request) => request.id)
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    for (const request of requests) await run.send('answer', { request, value: true })
    expect(await run.result).toBe('done')
    expect(JSON.parse(facts)).toMatchObject([
      { member: 'writer', state: 'done', answer: { prompt: 'x' } },
      { member: 'broken', state: 'error', error: 'down' },
      { member: 'asker', state: 'done', answer: true },
    ])
  })
})

/** An actor that asks, and goes on after a restart. */
function asking(asked: (answer: unknown) => void = () => {}, stopped: () => void = () => {}): Actor {
  return actor({
    async *stream(_: unknown, { checkpoint, request, signal }) {
      checkpoint(() => ({}))
      signal.addEventListener('abort', stopped)
      const answer = await request({ kind: 'text', prompt: 'What?' })
      asked(answer)
      yield String(answer)
    },
  }) as object as Actor
}

/** What is due in this process has happened. */
async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a workflow of which one branch is stopped while all of it waits', () => {
  test('does what follows only once the store knows that it goes on, so that nothing is done twice', async () => {
    const done: string[] = []
    const stopped = latch()
    const work = workflow({
      steps: (flow) =>
        flow.parallel('both', (branch) => ({
          asks: branch.approve('sure'),
          waits: branch
            .step('ask', asking(undefined, stopped.open), { recover: () => 'nothing' })
            .step('after', (value) => (done.push('after'), value)),
        })),
    })
    const { begin, isParked } = lives(work)
    let id = ''
    let agent = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      ;({ agent = '' } = await watched.first('agent.start', ({ name }) => name === 'both/waits/ask'))
      await watched.first('request', (asked) => asked.agent === agent)
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.holdStore()
      let isAnswered = false
      void watched.run.cancel({ agent }).then(() => (isAnswered = true))
      await stopped.opened
      await someTurns()
      expect({ done, isAnswered }).toEqual({ done: [], isAnswered: false })
      first.kill()
    }
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    const sure = await watched.first('request', ({ kind }) => kind === 'confirm')
    expect(await watched.run.cancel({ agent })).toMatchObject({ outcome: 'cancelled', settled: true })
    await watched.run.send('answer', { request: sure.id, value: true })
    expect(await watched.run.result).toEqual({ asks: null, waits: 'nothing' })
    expect(done).toEqual(['after'])
    expect(watched.all('agent.end').filter((end) => end.agent === agent)).toHaveLength(1)
  })
})

describe('a step that has failed, when its process dies', () => {
  /** One item asks, and this is done with the other one. */
  const beside = (step: (flow: Flow<unknown, unknown>) => Steps<unknown>) =>
    workflow({
      steps: (flow) =>
        flow.map('items', { over: () => ['asks', 'fails'] }, (item) =>
          item.route(
            'which',
            (way) => way,
            (way) => ({ asks: way.approve('sure'), fails: step(way as never) }),
          ),
        ),
    })
  const isOf = (name: string, is: string) => (step: { id: string; status: string }) =>
    step.id.endsWith(`/${name}`) && step.status === is

  test('begins again in the next one, if it was to be tried again, and says so', async () => {
    let isFirst = true
    const work = beside((flow) =>
      flow.step(
        'flaky',
        () => {
          if (isFirst) throw new MillraceError('unavailable', 'not yet')
          return 'it works'
        },
        { retry: { attempts: 2, delayMs: 600_000, maxDelayMs: 600_000 } },
      ),
    )
    const { begin, isParked } = lives(work)
    let id = ''
    {
      await using first = await begin({ ...nodeRuntime, random: () => 0.9 })
      const watched = new Watched(first.client.start('work', null))
      await watched.first('step', isOf('flaky', 'failed'))
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.kill()
    }
    isFirst = false
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    await watched.first('step', isOf('flaky', 'done'))
    const said = watched.all('step').filter(({ name }) => name === 'flaky')
    expect(said.map(({ status }) => status)).toEqual(['start', 'failed', 'start', 'done'])
    await watched.run.cancel()
  })

  test('ends the run as interrupted while the code is under way that takes its place', async () => {
    const recovering = latch()
    const work = beside((flow) =>
      flow.step('wrong', () => Promise.reject(new MillraceError('not_found', 'there is nothing')), {
        recover: async () => {
          recovering.open()
          await new Promise(() => {})
        },
      }),
    )
    const { begin } = lives(work)
    let id = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      await watched.first('request')
      await recovering.opened
      await watched.first('step', isOf('wrong', 'failed'))
      ;({ id } = await watched.run.opened)
      await someTurns()
      first.kill()
    }
    await using second = await begin()
    await expect(second.client.attach('work', id).result).rejects.toMatchObject({ code: 'interrupted' })
  })
})

describe('children that are let go, on a server with a store', () => {
  /** Begins a child in this way, and is then done, or waits for a cancel. */
  const parent = (child: Actor, options: SpawnOptions, isDone: boolean) =>
    actor({
      async *stream(_: unknown, { spawn, emit, signal }: ActorContext) {
        const begun = spawn(child as never, undefined as never, options) as AsyncIterable<RunEvent>
        const reading = (async () => {
          for await (const event of begun) await emit(event)
        })().catch(() => {})
        if (isDone) return
        await aborted(signal)
        await reading
        yield* []
      },
    })

  test.each([
    ['a declared child', { detached: true }, true],
    ['a child that a cancel has left', { key: 'child' }, false],
  ] as const)(
    '%s ends with its process: the next one neither has it nor begins it again',
    async (_, options, isDone) => {
      let begun = 0
      const child = actor({
        async *stream(_: unknown, { signal }) {
          begun++
          yield 'I go on.'
          await aborted(signal)
        },
      })
      const { begin, kept } = lives(parent(child as object as Actor, options, isDone))
      let id = ''
      let run = ''
      {
        await using first = await begin()
        const watched = new Watched(first.client.start('work', null))
        ;({ run = '' } = await watched.first('agent.start'))
        ;({ id } = await watched.run.opened)
        if (isDone) await watched.over
        else expect(await watched.run.cancel({ cascade: false })).toMatchObject({ continuing: [run] })
        const listed = await first.client.runs()
        expect(listed.map(({ id: one, state }) => [one, state])).toEqual([
          [id, 'ended'],
          [run, 'running'],
        ])
        expect(await kept.find(run)).toBeUndefined()
        first.kill()
      }
      await using second = await begin()
      await expect(second.client.attach('work', run).result).rejects.toMatchObject({ code: 'not_found' })
      expect((await second.client.runs()).map(({ id: one }) => one)).toEqual([id])
      expect({ begun, live: second.server.liveRuns }).toEqual({ begun: 1, live: 0 })
    },
  )

  test('a child of a run that waits does nothing new before the store knows that its parent is over', async () => {
    const paid: unknown[] = []
    const work = workflow({
      steps: (flow) =>
        flow.step(
          'pay',
          asking((answer) => paid.push(answer)),
        ),
    })
    const { begin, isParked } = lives(work)
    let id = ''
    let request = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      const { run = '' } = await watched.first('agent.start')
      ;({ id: request } = await watched.first('request'))
      ;({ id } = await watched.run.opened)
      await isParked(id)
      first.holdStore()
      void watched.run.cancel({ cascade: false })
      await eventually(() => first.server.liveRuns === 2, 'both go on')
      const view = first.client.attach('work', run, { after: 'start' })
      await view.opened
      await view.send('answer', { request, value: 'once' })
      await someTurns()
      expect(paid).toEqual([])
      first.kill()
    }
    await using second = await begin()
    const run = second.client.attach('work', id, { after: 'start' })
    await run.opened
    await run.send('answer', { request, value: 'once' })
    expect(await run.result).toBe('once')
    expect(paid).toEqual(['once'])
  })

  test('a child takes an answer to what it has not asked again yet, also when its parent is over by then', async () => {
    const answers: unknown[] = []
    const work = workflow({
      steps: (flow) =>
        flow.parallel('both', (branch) => ({
          b: branch.step(
            'ask',
            asking((answer) => answers.push(answer)),
          ),
        })),
    })
    const { begin, isParked } = lives(work)
    let id = ''
    let request = ''
    let agent = ''
    {
      await using first = await begin()
      const watched = new Watched(first.client.start('work', null))
      ;({ agent = '' } = await watched.first('agent.start', ({ name }) => name === 'both/b'))
      ;({ id: request } = await watched.first('request'))
      ;({ id } = await watched.run.opened)
      await watched.run.send('govern', { agent, paused: true })
      await isParked(id)
      first.kill()
    }
    await using second = await begin()
    const watched = new Watched(second.client.attach('work', id, { after: 'start' }))
    await watched.first('request')
    expect(await watched.run.cancel({ cascade: false })).toMatchObject({ continuing: [agent] })
    const view = second.client.attach('work', agent)
    await view.opened
    const answered = view.send('answer', { request, value: 'that' })
    await view.send('govern', { paused: false })
    expect(await answered).toBe('accepted')
    expect((await view.end).outcome).toBe('done')
    expect(answers).toEqual(['that'])
  })
})
