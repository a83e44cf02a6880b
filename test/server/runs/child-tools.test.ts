import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { EVENT } from '../../../protocol/events.ts'
import type { DownFrame } from '../../../protocol/frames.ts'
import { type ActorContext, actor, agent, tool } from '../../../server/index.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { allSettled, servedParent } from '../../helpers/parent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

describe('tools of children', () => {
  /** An agent whose model calls `wait` once, with the id that its provider counts from one. */
  const waiting = (needsApproval = false) => {
    const contexts = new Map<string, { signal: AbortSignal; call: string }>()
    const release = latch()
    const wait = tool({
      description: 'Waits',
      needsApproval,
      async run(_, context) {
        contexts.set(context.call, context)
        await Promise.race([release.opened, aborted(context.signal)])
        context.signal.throwIfAborted()
        return 'waited'
      },
    })
    const make = () =>
      agent({ model: scriptedModel(calls({ call: 'c1', name: 'wait', args: {} }), says('ok ')), tools: { wait } })
    return { contexts, release: release.open, make, tools: { wait } }
  }

  /** Two such agents side by side. */
  async function* sideBySide(context: ActorContext, make: () => ReturnType<typeof agent>) {
    await Promise.all(
      ['a', 'b'].map(async (name) => {
        for await (const event of context.spawn(make(), 'go', { name })) await context.emit(event)
      }),
    )
    yield 'over'
  }

  test('that are generators do not begin when their agent is stopped before their first step', async () => {
    const controller = new AbortController()
    let began = false
    async function* steps() {
      began = true
      yield { current: 1 }
    }
    const stops = tool({
      description: 'Stops its agent before its own first step',
      run: () => {
        controller.abort()
        return steps()
      },
    })
    const model = scriptedModel(calls({ call: 'a', name: 'stops', args: {} }), says('ok'))
    await using served = await servedParent(async function* ({ spawn }) {
      const helper = spawn(agent({ model, tools: { stops } }), 'go', { signal: controller.signal })
      await helper.result.catch(() => {})
      yield 'over'
    })
    const watched = served.start()
    await watched.over
    await allSettled(served)
    expect(controller.signal.aborted).toBe(true)
    expect(began).toBe(false)
  })

  test.each(['is cancelled', 'is left'])('of which no more comes, since their agent %s, are answered', async (how) => {
    const [stubborn, rest, leave] = [latch(), latch(), latch()]
    let goesOn = false
    const wait = tool({
      description: 'Does not stop',
      run: () => {
        goesOn = true
        return stubborn.opened
      },
    })
    const model = scriptedModel(calls({ call: 'a', name: 'wait', args: {} }), says('ok'))
    const helper = agent({ model, tools: { wait } })
    await using served = await servedParent(async function* ({ spawn }) {
      for await (const event of spawn(helper, 'go')) {
        yield event
        if (how === 'is cancelled' || event.type !== 'tool.call') continue
        await leave.opened
        break
      }
      yield 'on'
      await rest.opened
    })
    const watched = served.start()
    const { agent: id = '' } = await watched.first('tool.call')
    await eventually(() => goesOn, 'the call goes on')
    const answer = watched.run.cancel({ call: 'a' })
    if (how === 'is cancelled') await watched.run.cancel({ agent: id })
    else leave.open()
    expect(await answer).toEqual({ confirmed: false, code: 'not_found' })
    await watched.first('token')
    stubborn.open()
    rest.open()
    expect(await watched.over).toBeUndefined()
    await allSettled(served)
  })

  test.each(['is read by nobody', 'was stopped, and does not stop'])(
    'that have finished unread are answered not_found at once where their agent %s',
    async (how) => {
      const isRead = how !== 'is read by nobody'
      const [finished, rest] = [latch(), latch()]
      const quick = tool({ description: 'Is done at once', run: () => 'done' })
      const helper = actor({
        async *stream(_, { tools }) {
          yield 'hm'
          await tools({ quick }).call({ call: 'a', name: 'quick', args: {} })
          finished.open()
          await rest.opened
        },
      })
      await using served = await servedParent(
        async function* ({ spawn }) {
          const child = spawn(helper, undefined)
          if (isRead) await child[Symbol.asyncIterator]().next()
          await finished.opened
          yield 'on'
          await rest.opened
        },
        { limits: { cancelGraceMs: 60_000 } },
      )
      const watched = served.start()
      await watched.first('token')
      const { agent: id } = await watched.first('agent.start')
      const stopped = isRead ? watched.run.cancel({ agent: id! }) : undefined
      expect(await watched.run.cancel({ call: 'a' })).toEqual({ confirmed: false, code: 'not_found' })
      expect(watched.all('agent.end')).toEqual([])
      rest.open()
      await stopped
      await watched.over
      await allSettled(served)
    },
  )

  test('of which the run shows nothing, since it only awaits the agent, are cancelled where they are shown', async () => {
    const { make, contexts } = waiting()
    await using served = await servedParent(async function* ({ spawn }) {
      yield await spawn(make(), 'go').result
    })
    const watched = served.start()
    const { run: child } = await watched.first('agent.start')
    await eventually(() => contexts.size === 1, 'the call goes on')
    const [call] = contexts.keys()
    // The answer is at once that the run has no such call, and not at its end.
    expect(await watched.run.cancel({ call: call! })).toEqual({ confirmed: false, code: 'not_found' })
    expect(contexts.get(call!)?.signal.aborted).toBe(false)
    const own = new Watched(served.client.attach('parent', child!))
    expect(await own.run.cancel({ call: call! })).toMatchObject({ outcome: 'cancelled' })
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('ok ')
    await own.over
    await allSettled(served)
  })

  test('have ids of their own, so that one call is cancelled and the other is not', async () => {
    const { contexts, release, make } = waiting()
    await using served = await servedParent((context) => sideBySide(context, make))
    const watched = served.start()
    await eventually(() => contexts.size === 2 && watched.all('tool.call').length === 2, 'two calls go on')
    const [first, second] = watched.all('tool.call')
    expect(first!.call).not.toBe(second!.call)
    expect(await watched.run.cancel({ call: second!.call })).toMatchObject({ outcome: 'cancelled', settled: true })
    expect([contexts.get(first!.call)!.signal.aborted, contexts.get(second!.call)!.signal.aborted]).toEqual([
      false,
      true,
    ])
    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('ok ok over')
  })

  test.each(['yields', 'emits'])(
    'are answered by their results when they are cancelled, also where a parent that %s has not passed these on',
    async (how) => {
      const { contexts, release, tools } = waiting()
      const four = ['a', 'b', 'c', 'd'].map((call) => ({ call, name: 'wait', args: {} }))
      const rest = latch()
      const model = scriptedModel(calls(...four), async function* () {
        await rest.opened
        yield* says('ok')
      })
      await using served = await servedParent(
        async function* ({ spawn, emit }) {
          const child = spawn(agent({ model, tools }), 'go')
          if (how === 'yields') yield* child
          else for await (const event of child) await emit(event)
        },
        { limits: { readAhead: 2 } },
      )
      await using peer = await served.peer()
      const read = async (holds: () => boolean): Promise<void> => {
        while (!holds()) {
          peer.send({ kind: 'credit', sid: 1, n: 1 })
          await peer.settle()
        }
      }
      const events = (type: number) => peer.items(1).filter((item) => item.type === type)
      const isAnswer = (frame: DownFrame): boolean =>
        frame.kind === 'notice' || (frame.kind === 'event' && frame.type === EVENT.toolResult)
      peer.start(1, 'parent', null, { credit: 1 })
      await read(() => events(EVENT.toolCall).length === 4)
      await eventually(() => contexts.size === 4, 'four calls go on')
      for (const id of [...contexts.keys(), ...contexts.keys()]) {
        peer.send({ kind: 'cancel', sid: 1, target: { type: 'call', id } })
        await peer.settle()
      }
      await read(() => events(EVENT.toolResult).length === 4)
      const answers = peer.frames.filter(isAnswer)
      for (const call of contexts.keys()) {
        const first = answers.find((frame) => JSON.stringify(frame).includes(`"${call}"`))
        expect(first).toMatchObject({ kind: 'event', data: { call, outcome: 2 } })
      }
      // An item that its reader has is no longer in flight, wherever the parent stands that passed it on.
      const last = (events(EVENT.toolResult).at(-1)!.data as { call: string }).call
      peer.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: last } })
      await read(() => peer.frames.some((frame) => frame.kind === 'notice' && frame.message.includes(` ${last} `)))
      rest.open()
      release()
      peer.send({ kind: 'credit', sid: 1, n: 100 })
      await peer.next('end')
    },
  )

  test('ask for approval at the run they belong to, also late readers, and one answer is for one call', async () => {
    const { contexts, release, make } = waiting(true)
    await using served = await servedParent((context) => sideBySide(context, make))
    const watched = served.start()
    await eventually(() => watched.all('request').length === 2, 'both ask')
    const [first, second] = watched.all('request')
    expect(first!.id).not.toBe(second!.id)

    const late = createClient(served.url, { token: 'alice' })
    const view = new Watched(late.attach('parent', watched.run.id!, { after: 'live' }))
    await eventually(() => view.all('request').length === 2, 'a late reader gets both')
    expect(view.all('request').map(({ id, agent: of }) => [id, of])).toEqual(
      [first, second].map((asked) => [asked!.id, asked!.agent]),
    )

    await view.run.send('approve', { call: second!.call, ok: true })
    await eventually(() => contexts.size === 1, 'one call is allowed')
    expect([...contexts.keys()]).toEqual([second!.call])
    const third = new Watched(late.attach('parent', watched.run.id!, { after: 'live' }))
    await third.first('request')
    expect(third.all('request').map(({ id }) => id)).toEqual([first!.id])

    await view.run.send('answer', { request: first!.id, value: true })
    await expect(view.run.send('answer', { request: first!.id, value: true })).rejects.toMatchObject({
      code: 'not_found',
    })
    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result').map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
    await late.close()
  })

  test.each([
    ['', {}],
    [', also when they have a signal of their own', { signal: new AbortController().signal }],
  ])('may be agents themselves, which stop with their call%s', async (_, options) => {
    const signals: AbortSignal[] = []
    const expert = actor({
      async *stream(__, { signal }) {
        signals.push(signal)
        yield 'let me see '
        await aborted(signal)
      },
    })
    const consult = tool({
      description: 'Asks an expert',
      run: (__, { spawn }) => spawn(expert, undefined, { name: 'expert', ...options }).result,
    })
    const boss = agent({
      model: scriptedModel(calls({ call: 'c1', name: 'consult', args: {} }), says('never mind')),
      tools: { consult },
    })
    await using served = await testServer({ boss })
    const client = createClient(served.url, { token: 'alice' })
    const watched = new Watched(client.start('boss', 'go'))
    await eventually(() => signals.length === 1, 'the expert is asked')
    expect(await watched.run.cancel({ call: 'c1' })).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(signals[0]!.aborted).toBe(true)
    await watched.over
    expect(watched.text).toBe('never mind')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'cancelled' }])
    await client.close()
    await allSettled(served)
  })
})
