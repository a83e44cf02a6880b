import { describe, expect, test } from 'vitest'
import { createClient, type StreamEvent } from '../../../client-sdk/node.ts'
import { type ActorContext, actor, agent, type ChildRun, tool } from '../../../server/index.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { allSettled, servedParent } from '../../helpers/parent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { aborted, counted, counter, latch } from '../../helpers/test-actors.ts'

/** Says `one `, and then, once it may, `two`. */
function twoWords() {
  const rest = latch()
  let isAborted = false
  const words = actor({
    async *stream(_: unknown, { signal }: ActorContext) {
      signal.addEventListener('abort', () => (isAborted = true))
      yield 'one '
      await Promise.race([rest.opened, aborted(signal)])
      signal.throwIfAborted()
      yield 'two'
    },
  })
  return { words, goOn: rest.open, isAborted: () => isAborted }
}

/** The id of the first child that the run begins. */
async function firstChild(watched: Watched): Promise<string> {
  const { run } = await watched.first('agent.start')
  await watched.first('token')
  return run!
}

describe('a cancel that does not cascade', () => {
  test('stops the run at once, and names in its receipt the children that go on to their own end', async () => {
    const { words, goOn } = twoWords()
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(words, undefined)
    })
    const watched = served.start()
    const child = await firstChild(watched)
    expect(await watched.run.cancel({ cascade: false, note: 'enough' })).toMatchObject({
      outcome: 'cancelled',
      confirmed: true,
      settled: true,
      unsettled: [],
      note: 'enough',
      continuing: [child],
    })
    expect(served.server.liveRuns).toBe(1)
    const view = new Watched(served.client.attach('parent', child))
    await view.first('token')
    goOn()
    expect(await view.over).toBeUndefined()
    expect(view.text).toBe('one two')
    await allSettled(served)
    expect(served.errors).toEqual([])
  })

  test('closes what the run has open itself, and nothing of a child that goes on', async () => {
    const asked = latch()
    const work = latch()
    const child = tool({
      description: 'x',
      run: async () => {
        asked.open()
        await work.opened
        return 'found'
      },
    })
    const helper = agent({
      model: scriptedModel(calls({ call: 'inner', name: 'look', args: {} }), says('It is a door.')),
      tools: { look: child },
    })
    await using served = await servedParent(async function* ({ spawn, model, signal }) {
      void spawn(helper, 'go').result.catch(() => {})
      const waiting = scriptedModel(async function* () {
        yield { type: 'text', text: 'I wait. ' }
        await aborted(signal)
        signal.throwIfAborted()
      })
      for await (const { type } of model(waiting).stream({ messages: [] })) yield type
    })
    const watched = served.start()
    const id = await firstChild(watched)
    await asked.opened
    expect(await watched.run.cancel({ cascade: false })).toMatchObject({
      settled: true,
      provider: 'closed',
      tools: [],
      continuing: [id],
    })
    work.open()
    expect(await served.client.attach('parent', id).result).toBe('It is a door.')
    await allSettled(served)
  })

  test('lets a child go on that waits for an answer, which a client then gives to the child itself', async () => {
    const pay = tool({ description: 'x', needsApproval: true, run: () => 'paid' })
    const clerk = agent({
      model: scriptedModel(calls({ call: 'c', name: 'pay', args: {} }), says('Done.')),
      tools: { pay },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(clerk, 'pay')
    })
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    await watched.first('request')
    expect(await watched.run.cancel({ cascade: false })).toMatchObject({ continuing: [id] })
    const view = new Watched(served.client.attach('parent', id!))
    await view.first('request')
    await view.run.send('approve', { call: 'c', ok: true })
    expect(await view.over).toBeUndefined()
    expect(view.text).toBe('Done.')
  })

  test('of a paused run lets its children go on, which nothing pauses any more', async () => {
    const { words, goOn } = twoWords()
    const helper = agent({ model: scriptedModel(says('Hello.')) })
    const boss = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(words, undefined)
        yield* spawn(helper, 'hello')
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(boss, undefined)
    })
    const watched = served.start()
    const id = await firstChild(watched)
    await watched.run.send('govern', { paused: true })
    expect(await watched.run.cancel({ cascade: false })).toMatchObject({ continuing: [id] })
    goOn()
    expect(await served.client.attach('parent', id).result).toBe('')
    await allSettled(served)
  })

  test('is an option of the handle that the parent has of a child, whose children go on then', async () => {
    const { words, goOn } = twoWords()
    const middle = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(words, undefined)
      },
    })
    let child: ChildRun | undefined
    await using served = await servedParent(async function* ({ spawn, emit }) {
      child = spawn(middle, undefined)
      for await (const event of child) await emit(event)
      yield 'I go on.'
    })
    const watched = served.start()
    const { run: inner } = await watched.first('agent.start', ({ parent }) => parent !== undefined)
    await watched.first('token')
    expect(await child!.cancel('enough', { cascade: false })).toMatchObject({ note: 'enough', continuing: [inner] })
    await watched.over
    expect(watched.text).toMatch(/I go on\.$/)
    const { receipt } = watched.events.find(({ type }) => type === 'agent.end') as StreamEvent & { receipt: object }
    expect(receipt).toMatchObject({ by: 'parent', continuing: [inner] })
    goOn()
    expect(await served.client.attach('parent', inner!).result).toBe('one two')
  })

  test('of a run that has ended says how, as any cancel does, also while its last items wait to be read', async () => {
    await using served = await servedParent(async function* () {
      for (let n = 0; n < 20; n++) yield { type: 'progress', current: n }
    })
    const run = served.client.start('parent', undefined, { policy: 'log', credit: 1 })
    await run.opened
    await allSettled(served)
    expect(await run.cancel({ cascade: false })).toEqual({ confirmed: true, outcome: 'done' })
  })

  test('over plain HTTP is for a run and for a sub-agent, and not for a tool call', async () => {
    const { words, goOn } = twoWords()
    const middle = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(words, undefined)
      },
    })
    const parent = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(middle, undefined)
      },
    })
    await using served = await httpServed({ parent })
    const client = createClient(served.url, { token: 'alice' })
    const watched = new Watched(client.start('parent', undefined))
    const { agent: outer } = await watched.first('agent.start')
    const { run: inner } = await watched.first('agent.start', ({ parent }) => parent !== undefined)
    const cancel = (body: object) => served.http().json('POST', `/runs/${watched.run.id}/cancel`, body)
    expect(await cancel({ call: 'c', cascade: false })).toMatchObject({ status: 400 })
    expect(await cancel({ agent: outer, cascade: false })).toMatchObject({
      status: 200,
      body: { outcome: 'cancelled', receipt: { continuing: [inner] } },
    })
    expect(await cancel({ cascade: false })).toMatchObject({ status: 200 })
    goOn()
    expect(await client.attach('parent', inner!).result).toBe('one two')
    await client.close()
  })
})

describe('a detached child', () => {
  test('outlives the end of its parent, on the list of its principal, and an undeclared one does not', async () => {
    const [kept, lost] = [twoWords(), twoWords()]
    await using served = await servedParent(async function* ({ spawn }) {
      spawn(kept.words, undefined, { detached: true })
      spawn(lost.words, undefined)
      yield 'I am done.'
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    const [first, second] = watched.all('agent.start').map(({ run }) => run!)
    await expect(served.client.attach('parent', second!).result).rejects.toMatchObject({ code: 'cancelled' })
    expect((await served.client.runs()).map(({ id, state }) => [id, state])).toEqual([
      [watched.run.id, 'ended'],
      [first, 'running'],
    ])
    expect([kept.isAborted(), served.server.liveRuns]).toEqual([false, 1])
    kept.goOn()
    expect(await served.client.attach('parent', first!).result).toBe('one two')
    await allSettled(served)
  })

  test('outlives a cancel of its parent, also inside a branch that is cancelled, and an undeclared one does not', async () => {
    const [kept, lost] = [twoWords(), twoWords()]
    const branch = actor({
      async *stream(_: unknown, { spawn, signal }: ActorContext) {
        const other = spawn(lost.words, undefined)
        yield* spawn(kept.words, undefined, { detached: true, signal })
        yield* other
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(branch, undefined)
    })
    const watched = served.start()
    await watched.first('token')
    const [, second, first] = watched.all('agent.start').map(({ run }) => run!)
    const receipt = await watched.run.cancel()
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
    // It is the branch that let it go, and the run above it has no child that goes on.
    expect(receipt).not.toHaveProperty('continuing')
    await expect(served.client.attach('parent', second!).result).rejects.toMatchObject({ code: 'cancelled' })
    kept.goOn()
    expect(await served.client.attach('parent', first!).result).toBe('one two')
  })

  test('outlives a parent that fails in the middle of its loop', async () => {
    const { words, goOn } = twoWords()
    await using served = await servedParent(async function* ({ spawn }) {
      for await (const event of spawn(words, undefined, { detached: true })) {
        yield event
        throw new Error('a bug')
      }
    })
    const watched = served.start()
    const id = await firstChild(watched)
    expect(await watched.over).toMatchObject({ code: 'actor_failed' })
    goOn()
    expect(await served.client.attach('parent', id).result).toBe('one two')
  })

  test('runs at full speed while its parent goes on and does not read it', async () => {
    const { runs, ...numbers } = counter()
    await using served = await servedParent(
      async function* ({ spawn, signal }) {
        spawn(numbers, 500, { detached: true })
        yield 'I wait.'
        await aborted(signal)
      },
      { limits: { readAhead: 8 } },
    )
    const watched = served.start()
    const { outcome } = await watched.first('agent.end')
    expect([outcome, runs[0]!.count]).toEqual(['ok', 500])
    const { run: id } = await watched.first('agent.start')
    expect(await served.client.attach('parent', id!).result).toBe(counted(1, 500))
    await watched.run.cancel()
  })

  test('is cancelled by its handle and by a client, as any child is', async () => {
    const { words } = twoWords()
    let child: ChildRun | undefined
    await using served = await servedParent(async function* ({ spawn, signal }) {
      child = spawn(words, undefined, { detached: true })
      const other = spawn(words, undefined, { detached: true })
      yield 'I wait.'
      await other.result.catch(() => {})
      await aborted(signal)
    })
    const watched = served.start()
    await watched.first('token')
    expect(await child!.cancel('enough')).toMatchObject({ note: 'enough', settled: true })
    const other = watched.all('agent.start')[1]!.agent!
    expect(await watched.run.cancel({ agent: other })).toMatchObject({ outcome: 'cancelled' })
    expect(child!.state).toBe('cancelled')
    await watched.run.cancel()
    await allSettled(served)
  })

  test('takes a slot of its principal until it has ended', async () => {
    const { words, goOn } = twoWords()
    await using served = await servedParent(
      async function* ({ spawn }) {
        spawn(words, undefined, { detached: true })
        yield 'I am done.'
      },
      { limits: { maxRuns: 2 } },
    )
    const first = served.start()
    await first.over
    const second = served.start()
    expect(await second.over).toMatchObject({ code: 'overloaded' })
    goOn()
    await allSettled(served)
    expect(await served.start().over).toBeUndefined()
  })

  test('does not outlive the server, whichever run above it is stopped first', async () => {
    const { words } = twoWords()
    const branch = actor({
      async *stream(_: unknown, { spawn }: ActorContext) {
        yield* spawn(words, undefined, { detached: true })
      },
    })
    const served = await servedParent(async function* ({ spawn }) {
      yield* spawn(branch, undefined)
    })
    const watched = served.start()
    await watched.first('token')
    await served.server.close({ drainMs: 0 })
    expect(await watched.over).toMatchObject({ code: 'interrupted' })
    expect(served.server.liveRuns).toBe(0)
    await served[Symbol.asyncDispose]()
  })
})
