import { describe, expect, test } from 'vitest'
import type { UpFrame } from '../../protocol/frames.ts'
import { agent } from '../../server/index.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'
import type { WireClient } from '../helpers/wire-client.ts'

let sent = 0
const input = (type: string, data: unknown): Extract<UpFrame, { kind: 'input' }> => ({
  kind: 'input',
  sid: 1,
  mid: `t${++sent}`,
  type,
  data,
})

const declared = (id = 'page', more: object = {}) =>
  input('tools', { id, tools: [{ name: 'locate', description: 'x', parameters: { type: 'object' }, ...more }] })

/** A page that declares `locate`, of a run whose model calls it at once. Time stands still. */
async function page() {
  const clock = handClock()
  const model = scriptedModel(calls({ call: 'c1', name: 'locate', args: {} }), says('ok'))
  const limits = { heartbeatMs: 1_000_000, messagesPerSec: 1_000_000 }
  const served = await testServer({ agent: agent({ model, clientTools: true }) }, { runtime: clock, limits })
  const client = await served.client()
  client.send({ kind: 'start', sid: 1, actor: 'agent', input: 'go', options: {} }, declared())
  await given(client)
  const connect = served.client
  return Object.assign(served, { clock, connect, client, model })
}

/** Waits until a call was given to the page. */
function given(client: WireClient): Promise<void> {
  return client.until(() => JSON.stringify(client.items(1)).includes('client.tool'), 'client.tool')
}

async function statusOf(client: WireClient, frame: Extract<UpFrame, { kind: 'input' }>) {
  client.send(frame)
  return ack(client, frame)
}

const ack = (client: WireClient, { mid }: { mid: string | Uint8Array }) =>
  client.find(
    (one) => (one.kind === 'input_ack' && one.mid === mid) || (one.kind === 'notice' && one.ref?.detail === mid),
  )

describe('a result of a client tool', () => {
  test('that comes twice in one message counts once', async () => {
    await using served = await page()
    const { client, model } = served
    const results = ['first', 'second'].map((output) => input('tool.result', { call: 'c1', output }))
    client.send(...results)
    expect(await ack(client, results[0]!)).toMatchObject({ status: 'accepted' })
    expect(await ack(client, results[1]!)).toMatchObject({ status: 'unwanted' })
    await client.next('end', 1)
    expect(model.asked[1]!.at(-1)).toMatchObject({ role: 'tool', content: 'first' })
  })

  test('of a call that nobody made, of no call and of another client is refused', async () => {
    await using served = await page()
    const { client, model } = served
    for (const data of [{ call: 'c2', output: 1 }, { call: 5 }, { output: 1 }, null, 'c1', [], { call: ['c1'] }])
      expect(await statusOf(client, input('tool.result', data))).toMatchObject({ status: 'unwanted' })
    const { run } = client.frames.find(({ kind }) => kind === 'opened') as { run: string }
    await using other = await served.connect()
    await using eve = await served.connect({ auth: 'eve' })
    for (const reader of [other, eve]) {
      reader.attach(1, run, 0)
      await reader.next('opened', 1)
    }
    const forged = { call: 'c1', output: 'forged' }
    expect(await statusOf(other, input('tool.result', forged))).toMatchObject({ status: 'unwanted' })
    expect(await statusOf(eve, input('tool.result', forged))).toMatchObject({ code: 'forbidden' })
    expect(await statusOf(eve, declared('eve'))).toMatchObject({ code: 'forbidden' })
    client.send(input('tool.result', { call: 'c1', output: 'real' }))
    await client.next('end', 1)
    expect(model.asked[1]!.at(-1)).toMatchObject({ content: 'real' })
  })

  test.each([
    ['is far too large', { output: 'x'.repeat(200_000) }],
    ['is nothing', {}],
    ['is bytes', { output: new Uint8Array(100) }],
    ['is deep', { output: { a: { b: { c: { d: {} } } } } }],
    ['has keys of methods', { output: { toJSON: 1, then: 2, toString: 3 } }],
    ['is an error of no text', { error: { toString: 1 } }],
    ['is a huge error', { error: 'x'.repeat(200_000) }],
  ])('that %s is an answer that the model gets, and no failure of the run', async (_, result) => {
    await using served = await page()
    const { client, model } = served
    client.send(input('tool.result', { call: 'c1', ...result }))
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    const { content } = model.asked[1]!.at(-1) as { content: string }
    expect(content.length).toBeLessThan(70_000)
    expect(served.errors).toEqual([])
  })

  test('that comes with a cancel of the run in one message stops the run, whatever comes first', async () => {
    for (const isFirst of [true, false]) {
      await using served = await page()
      const frames: UpFrame[] = [input('tool.result', { call: 'c1', output: 'x' }), { kind: 'cancel', sid: 1 }]
      served.client.send(...(isFirst ? frames : frames.toReversed()))
      expect(await served.client.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
      expect(served.model.asked).toHaveLength(1)
      await eventually(() => served.server.liveRuns === 0, 'it has settled')
    }
  })
})

describe('a page that declares its tools again and again', () => {
  test('under new names, and does not read, is held back and does not end the run', async () => {
    await using served = await page()
    const { client } = served
    const { run } = client.frames.find(({ kind }) => kind === 'opened') as { run: string }
    // The same client, as a reader that lets nothing more through.
    client.attach(2, run, null, { policy: 'pace', credit: 0 })
    await client.next('opened', 2)
    const statuses = new Set<string>()
    for (let n = 0; n < 15; n++) {
      const frames = Array.from({ length: 100 }, (_, i) => declared(`page ${n} ${i}`))
      client.send(...frames)
      for (const frame of frames) statuses.add(((await ack(client, frame)) as { status: string }).status)
    }
    expect(statuses).toEqual(new Set(['accepted', 'busy']))
    client.send(
      { kind: 'detach', sid: 2 },
      { kind: 'credit', sid: 1, n: 100_000 },
      input('tool.result', { call: 'c1', output: 'x' }),
    )
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
  })
})

describe('the end of a run that waits for a client tool', () => {
  test.each([
    ['a cancel of the run', { kind: 'cancel', sid: 1 }],
    ['a guarded stop', input('stop', { ifSeq: 2 ** 40 })],
  ] as const)('by %s leaves no timer', async (_, stop) => {
    await using served = await page()
    await using idle = await served.connect()
    await idle.settle()
    served.client.send(stop)
    expect(await served.client.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await eventually(() => served.server.liveRuns === 0, 'it has settled')
    const { clock } = served
    // What is left is of connections and of the ended run, and not of a call: none of it is due for a call's lease.
    const before = clock.timers
    served.client.send(input('tool.result', { call: 'c1', output: 'late' }))
    await idle.settle()
    expect(clock.timers).toBeLessThanOrEqual(before)
  })
})
