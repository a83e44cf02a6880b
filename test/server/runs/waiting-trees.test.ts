import { describe, expect, test } from 'vitest'
import { EVENT } from '../../../protocol/events.ts'
import type { WireMap } from '../../../protocol/frames.ts'
import { type ActorContext, actor, agent, agentTool, tool } from '../../../server/index.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const approve = { type: 'approve', data: { call: 'p1', ok: true } } as const

/** A tool that needs an approval, and how often it ran. */
function payment() {
  const paid: unknown[] = []
  const pay = tool({
    description: 'Pays',
    parameters: { type: 'object' },
    needsApproval: true,
    run: (args) => {
      paid.push(args)
      return 'paid'
    },
  })
  return { paid, pay }
}

/** A manager whose clerk pays: the clerk asks for an approval. */
function office() {
  const { paid, pay } = payment()
  const clerkModel = scriptedModel(calls({ call: 'p1', name: 'pay', args: { euros: 50 } }), says('paid it'))
  const clerk = agent({ model: clerkModel, tools: { pay } })
  const managerModel = scriptedModel(calls({ call: 'd1', name: 'delegate', args: { prompt: 'pay' } }), says('all done'))
  const delegate = agentTool(clerk, { description: 'Pays', name: 'clerk' })
  const manager = agent({ model: managerModel, tools: { delegate } })
  return { paid, managerModel, clerkModel, ...onOneStore({ manager }) }
}

const isParked = ({ parked }: { parked?: Uint8Array | undefined }): boolean => parked !== undefined

/** The data of all events of a type that a stream has. */
const eventsOf = (client: WireClient, sid: number, type: keyof typeof EVENT): WireMap[] =>
  client.items(sid).flatMap((item) => (item.type === EVENT[type] ? [item.data as WireMap] : []))

describe('a run whose child waits', () => {
  test('waits on after its process died, and the tool of the child runs once when another client answers', async () => {
    const { begin, stored, paid, managerModel, clerkModel } = office()
    let run = ''
    let child: unknown
    let seen = 0
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'manager', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      await client.settle()
      seen = client.count(1)
      child = eventsOf(client, 1, 'agentStart')[0]?.['agent']
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, seen, { gen: 1 })
    const { pending } = await back.next('opened', 1)
    expect(pending).toMatchObject([{ kind: 'approve', call: 'p1' }])
    await using other = await second.client()
    other.attach(1, run, null)
    other.send({ kind: 'input', sid: 1, mid: 'm', ...approve })
    expect(await other.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done', data: { usage: { input: 40, output: 14 } } })
    expect(paid).toEqual([{ euros: 50 }])
    expect([managerModel.asked.length, clerkModel.asked.length]).toEqual([2, 2])
    expect(managerModel.asked[1]?.at(-1)).toMatchObject({ role: 'tool', call: 'd1', content: 'paid it' })
    // What clients have seen began once, and ends once.
    expect(back.text(1)).toBe('paid itall done')
    expect(eventsOf(back, 1, 'agentStart')).toEqual([])
    expect(eventsOf(back, 1, 'toolCall')).toEqual([])
    expect(eventsOf(back, 1, 'agentEnd')).toMatchObject([{ agent: child, outcome: 0 }])
  })
  test('is left to the next process by an orderly close, in which nothing of it goes on', async () => {
    const { begin, paid, managerModel, clerkModel } = office()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'manager', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => eventsOf(client, 1, 'inputRequest').length === 1)
      await first.server.close({ drainMs: 5_000 })
      expect(await client.closed).toBe(4503)
      expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    }
    expect([managerModel.asked.length, clerkModel.asked.length]).toEqual([1, 1])
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    await back.next('opened', 1)
    back.send({ kind: 'input', sid: 1, mid: 'm', type: 'approve', data: { call: 'p1', ok: false } })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(eventsOf(back, 1, 'agentStart')).toHaveLength(1)
    expect(paid).toEqual([])
  })

  test('waits on through several deaths, two levels deep, in the child that clients know', async () => {
    const { paid, pay } = payment()
    const clerk = agent({
      model: scriptedModel(calls({ call: 'p1', name: 'pay', args: { euros: 1 } }), says('paid it')),
      tools: { pay },
    })
    const lead = agent({
      model: scriptedModel(calls({ call: 'c1', name: 'clerk', args: { prompt: 'pay' } }), says('led it')),
      tools: { clerk: agentTool(clerk, { description: 'Pays' }) },
    })
    const model = scriptedModel(calls({ call: 'l1', name: 'lead', args: { prompt: 'pay' } }), says('all done'))
    const boss = agent({ model, tools: { lead: agentTool(lead, { description: 'Leads' }) } })
    const { begin, stored } = onOneStore({ boss })
    let run = ''
    let agents: unknown[] = []
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'boss', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      await client.settle()
      agents = eventsOf(client, 1, 'agentStart').map(({ agent }) => agent)
      first.kill()
      client.cut()
    }
    for (const _ of ['again', 'and again']) {
      await using next = await begin()
      await using client = await next.client()
      client.attach(1, run, 0)
      expect(await client.next('opened', 1)).not.toHaveProperty('pending')
      client.attach(2, run, null)
      expect(await client.next('opened', 2)).toMatchObject({ pending: [{ kind: 'approve', call: 'p1' }] })
      // The run of each child is there, under the id that clients know.
      for (const [i, id] of agents.entries()) {
        client.attach(3 + i, String(id), null)
        expect(await client.next('opened', 3 + i)).toMatchObject({ run: id, pending: [{ call: 'p1' }] })
      }
      next.kill()
      client.cut()
    }
    await using last = await begin()
    await using back = await last.client()
    back.attach(1, run, 0)
    back.send({ kind: 'input', sid: 1, mid: 'm', ...approve })
    expect(await back.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(paid).toEqual([{ euros: 1 }])
    expect(eventsOf(back, 1, 'agentEnd').map(({ agent }) => agent)).toEqual([...agents].reverse())
    expect(back.text(1)).toBe('paid itled itall done')
  })

  test('takes an answer that came to the child alone, and keeps what the child accepted meanwhile', async () => {
    const { begin, stored, kept, paid, clerkModel } = office()
    let run = ''
    let child = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'manager', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      child = String(eventsOf(client, 1, 'agentStart')[0]?.['agent'])
      client.attach(2, child, null)
      await client.next('opened', 2)
      client.send({ kind: 'input', sid: 2, mid: 'm', type: 'message', data: 'make it quick' })
      expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
      first.kill()
      client.cut()
    }
    expect((await kept.find(run))?.inputs).toHaveLength(1)
    await using second = await begin()
    await using back = await second.client()
    // At once: the child is about to be begun again.
    back.attach(2, child, null)
    back.send(
      { kind: 'input', sid: 2, mid: 'm', type: 'message', data: 'make it quick' },
      { kind: 'input', sid: 2, mid: 'a', ...approve },
    )
    expect(await back.next('input_ack')).toMatchObject({ mid: 'm', status: 'duplicate' })
    expect(await back.next('input_ack')).toMatchObject({ mid: 'a', status: 'accepted' })
    expect(await back.next('end', 2)).toMatchObject({ outcome: 'done' })
    expect(paid).toHaveLength(1)
    expect(clerkModel.asked[1]?.filter(({ role }) => role === 'user').map(({ content }) => content)).toEqual([
      'pay',
      'make it quick',
    ])
  })

  test('for the end of a pause waits on, and nothing of it is asked before that', async () => {
    const { begin, stored, managerModel, clerkModel } = office()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'manager', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => eventsOf(client, 1, 'inputRequest').length === 1)
      client.send({ kind: 'input', sid: 1, mid: 'p', type: 'govern', data: { paused: true } })
      await client.next('input_ack')
      client.send({ kind: 'input', sid: 1, mid: 'a', ...approve })
      await client.next('input_ack')
      await client.until(() => eventsOf(client, 1, 'toolResult').length === 1)
      await stored(run, (run) => isParked(run) && run.inputs.length === 0)
      first.kill()
      client.cut()
    }
    expect(clerkModel.asked).toHaveLength(1)
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    await back.next('opened', 1)
    await back.settle()
    expect([managerModel.asked.length, clerkModel.asked.length]).toEqual([1, 1])
    back.send({ kind: 'input', sid: 1, mid: 'r', type: 'govern', data: { paused: false } })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect([managerModel.asked.length, clerkModel.asked.length]).toEqual([2, 2])
  })

  test('for a tool of a client waits on, and that client performs it for the child', async () => {
    const locate = { name: 'locate', description: 'Where', parameters: { type: 'object' } }
    // A model that finds no tool waits for one.
    const guideModel = scriptedModel(calls({ call: 'c1', name: 'locate', args: {} }), says('there'))
    const guide = agent({ model: guideModel, clientTools: true, turn: () => declared.then(() => ({})) })
    let isDeclared = (): void => {}
    const declared = new Promise<void>((resolve) => (isDeclared = resolve))
    const model = scriptedModel(calls({ call: 'g1', name: 'guide', args: { prompt: 'go' } }), says('done'))
    const { begin, stored } = onOneStore({
      traveller: agent({ model, tools: { guide: agentTool(guide, { description: 'Guides' }) } }),
    })
    let run = ''
    let child = ''
    let instance: Uint8Array
    {
      await using first = await begin()
      await using client = await first.client()
      instance = client.client
      client.start(1, 'traveller', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => eventsOf(client, 1, 'agentStart').length === 1)
      child = String(eventsOf(client, 1, 'agentStart')[0]?.['agent'])
      client.attach(2, child, 0)
      client.send({ kind: 'input', sid: 2, mid: 't', type: 'tools', data: { id: 'page', tools: [locate] } })
      await client.next('input_ack')
      isDeclared()
      await stored(run, isParked)
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client({ client: instance, attempt: 2 })
    back.attach(1, run, null)
    back.attach(2, child, null)
    // The result is there already: it is for the call that is about to be given again.
    back.send({ kind: 'input', sid: 2, mid: 'r', type: 'tool.result', data: { call: 'c1', output: 'here' } })
    expect(await back.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(guideModel.asked[1]?.at(-1)).toMatchObject({ role: 'tool', call: 'c1', content: 'here' })
  })

  test('ends as interrupted if its actor could not find the child again', async () => {
    const { paid, pay } = payment()
    const clerk = agent({ model: scriptedModel(calls({ call: 'p1', name: 'pay', args: {} })), tools: { pay } })
    const report = actor({
      async *stream(_input: unknown, { spawn, checkpoint }: ActorContext) {
        checkpoint(() => ({}))
        yield* spawn(clerk, 'pay')
      },
    })
    const { begin, stored } = onOneStore({ report })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'report', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => eventsOf(client, 1, 'inputRequest').length === 1)
      await stored(run, ({ next }) => next > client.count(1))
      await client.settle()
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'interrupted' } })
    expect(paid).toEqual([])
  })

  test('stops with the child that a client cancels right after the restart', async () => {
    const { begin, stored, paid } = office()
    let run = ''
    let child = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'manager', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      await client.settle()
      child = String(eventsOf(client, 1, 'agentStart')[0]?.['agent'])
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    back.send({ kind: 'cancel', sid: 1, target: { type: 'agent', id: child } })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(eventsOf(back, 1, 'agentEnd')).toMatchObject([{ agent: child, outcome: 2 }])
    expect(paid).toEqual([])
  })
})

describe('an actor that finds its children again by their keys', () => {
  const ask = actor({
    async *stream(input: unknown, { checkpoint, request, restored }: ActorContext) {
      if (!restored) yield `asking ${String(input)};`
      checkpoint(() => ({ asked: true }))
      yield `${String(input)} is ${String(await request({ kind: 'text', prompt: String(input) }))};`
    },
  })

  /** Two questions at once, and one after them: what is finished is in the checkpoint. */
  function survey(finished: string[] = []) {
    return actor({
      async *stream(_input: unknown, { spawn, checkpoint, restored, emit }: ActorContext) {
        const answers: Record<string, unknown> = { ...(restored as object | undefined) }
        checkpoint(() => ({ ...answers }))
        const step = async (name: string): Promise<void> => {
          if (name in answers) return
          const child = spawn(ask, name, { key: name, name })
          for await (const event of child) await emit(event)
          answers[name] = await child.result
          finished.push(name)
        }
        await Promise.all([step('name'), step('town')])
        await step('age')
        yield JSON.stringify(answers)
      },
    })
  }

  test('goes on with those that wait, and does not begin those again that have finished', async () => {
    const finished: string[] = []
    const { begin, stored } = onOneStore({ survey: survey(finished) })
    let run = ''
    let asked: WireMap[] = []
    const answer = (client: WireClient, prompt: string, value: string): void => {
      const request = asked.find((one) => one['prompt'] === prompt)?.['request']
      client.send({ kind: 'input', sid: 1, mid: prompt, type: 'answer', data: { request, value } })
    }
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'survey', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => eventsOf(client, 1, 'inputRequest').length === 2)
      asked = eventsOf(client, 1, 'inputRequest')
      await stored(run, isParked)
      answer(client, 'name', 'Ada')
      await client.until(() => eventsOf(client, 1, 'agentEnd').length === 1)
      await stored(run, (run) => isParked(run) && run.inputs.length === 0)
      await client.settle()
      first.kill()
      client.cut()
    }
    {
      await using second = await begin()
      await using client = await second.client()
      client.attach(1, run, null)
      expect(await client.next('opened', 1)).toMatchObject({ pending: [{ prompt: 'town' }] })
      answer(client, 'town', 'Paris')
      await client.until(() => eventsOf(client, 1, 'inputRequest').length === 1)
      asked.push(...eventsOf(client, 1, 'inputRequest'))
      await stored(run, isParked)
      second.kill()
      client.cut()
    }
    await using third = await begin()
    await using back = await third.client()
    back.attach(1, run, 0)
    answer(back, 'age', '36')
    await back.next('end', 1)
    const values = { name: 'name is Ada;', town: 'town is Paris;', age: 'age is 36;' }
    const asking = (name: string): string => `asking ${name};${values[name as keyof typeof values]}`
    expect(JSON.parse(back.items(1).at(-1)?.text ?? '')).toEqual({
      name: asking('name'),
      town: asking('town'),
      age: asking('age'),
    })
    expect(finished).toEqual(['name', 'town', 'age'])
    expect(eventsOf(back, 1, 'agentStart').map(({ name }) => name)).toEqual(['name', 'town', 'age'])
    expect(eventsOf(back, 1, 'inputRequest').map(({ prompt }) => prompt)).toEqual(['name', 'town', 'age'])
  })

  test('loses no answer that was accepted while another one was waited for', async () => {
    const both = actor({
      async *stream(_input: unknown, { request, checkpoint, restored }: ActorContext) {
        const answers: Record<string, unknown> = { ...(restored as object | undefined) }
        checkpoint(() => ({ ...answers }))
        await Promise.all(
          ['name', 'town'].map(async (prompt) => {
            answers[prompt] ??= await request({ kind: 'text', prompt })
          }),
        )
        yield JSON.stringify(answers)
      },
    })
    const { begin, stored } = onOneStore({ both })
    let run = ''
    let asked: WireMap[] = []
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'both', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      await client.settle()
      asked = eventsOf(client, 1, 'inputRequest')
      const data = { request: asked[0]?.['request'], value: 'Ada' }
      client.send({ kind: 'input', sid: 1, mid: 'a', type: 'answer', data })
      expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
      await stored(run, (run) => isParked(run) && run.inputs.length === 0)
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    const data = { request: asked[1]?.['request'], value: 'Paris' }
    back.send({ kind: 'input', sid: 1, mid: 'b', type: 'answer', data })
    await back.next('end', 1)
    expect(eventsOf(back, 1, 'inputRequest')).toHaveLength(2)
    expect(JSON.parse(back.text(1))).toEqual({ name: 'Ada', town: 'Paris' })
  })

  test('takes no step twice that was new: while it goes on, a crash interrupts the run', async () => {
    const paid: number[] = []
    let pay = (): void => {}
    let isPaying = (): void => {}
    const paying = new Promise<void>((resolve) => (isPaying = resolve))
    const payer = actor({
      async ask() {
        paid.push(1)
        isPaying()
        await new Promise(() => {})
      },
    })
    const branches = actor({
      async *stream(_input: unknown, { spawn, checkpoint }: ActorContext) {
        checkpoint(() => ({}))
        const due = new Promise<void>((resolve) => (pay = resolve))
        void due.then(() => spawn(payer, undefined, { key: 'payer' }).result).catch(() => {})
        yield* spawn(ask, 'name', { key: 'name' })
      },
    })
    const { begin, stored } = onOneStore({ branches })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'branches', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      pay()
      await paying
      // Before the step began, the store knew.
      await stored(run, (run) => !isParked(run))
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    expect(await back.next('end', 1)).toMatchObject({ data: { code: 'interrupted' } })
    expect(paid).toHaveLength(1)
  })

  test('answers what it asks in another way after a new release, and is not stuck with what it asked before', async () => {
    let wording = 'Where to?'
    const order = actor({
      async *stream(_input: unknown, { request, checkpoint }: ActorContext) {
        checkpoint(() => ({}))
        yield `to ${String(await request({ kind: 'text', prompt: wording }))}`
      },
    })
    const { begin, stored } = onOneStore({ order })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'order', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, isParked)
      first.kill()
      client.cut()
    }
    wording = 'Where to, please?'
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    await back.until(() => eventsOf(back, 1, 'inputRequest').length === 2)
    const { request } = eventsOf(back, 1, 'inputRequest')[1] ?? {}
    back.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request, value: 'Paris' } })
    await back.next('end', 1)
    expect(back.text(1)).toBe('to Paris')
  })

  test('may not give one key to two children that go on, nor a key that is none', async () => {
    const errors: unknown[] = []
    const twice = actor({
      async *stream(_input: unknown, { spawn }: ActorContext) {
        const child = spawn(ask, 'name', { key: 'a' })
        for (const key of ['a', '', 'x'.repeat(257), '\ud800', 7 as never])
          try {
            spawn(ask, 'town', { key })
          } catch (error) {
            errors.push((error as { code: string }).code)
          }
        await child.cancel()
        spawn(ask, 'town', { key: 'a' })
        yield 'done'
      },
    })
    const { begin } = onOneStore({ twice })
    await using served = await begin()
    await using client = await served.client()
    client.start(1, 'twice', 'go')
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(errors).toEqual(['key_conflict', 'bad_request', 'bad_request', 'bad_request', 'bad_request'])
    await eventually(() => served.server.liveRuns === 0, 'every run settles')
  })
})
