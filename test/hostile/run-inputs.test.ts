import { describe, expect, test } from 'vitest'
import { type AgentDefinition, agent, tool } from '../../server/index.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { testServer } from '../helpers/server.ts'
import { latch } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'

/** An agent whose first turn calls a tool that waits for the test. */
async function waiting(definition: Partial<AgentDefinition> = {}, options: object = {}) {
  const [begun, release] = [latch(), latch()]
  const gate = tool({
    description: 'x',
    async run() {
      begun.open()
      await release.opened
      return 'ok'
    },
  })
  const model = scriptedModel(calls({ call: 'c', name: 'gate', args: {} }), says('Done.'))
  const served = await testServer({ agent: agent({ model, tools: { gate }, ...definition }) }, options)
  return Object.assign(served, { model, begun, release })
}

/** Sends an input and returns what became of it. */
let sent = 0
async function answered(client: WireClient, type: string, data: unknown, sid = 1) {
  const mid = `x${++sent}`
  client.send({ kind: 'input', sid, mid, type, data })
  return await client.find(
    (frame) =>
      (frame.kind === 'input_ack' && frame.mid === mid) || (frame.kind === 'notice' && frame.ref?.detail === mid),
  )
}

/** Data of every sort, for a type that expects a map. */
const oddities: unknown[] = [
  null,
  true,
  0,
  -1,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53 - 1,
  '',
  'x'.repeat(60_000),
  new Uint8Array(1_000),
  [],
  Array.from({ length: 1_000 }, () => null),
  {},
  { toString: 1, valueOf: 2, toJSON: 3, constructor: 4, then: 5, length: 6 },
]

/** The names that the types of inputs read. */
const names = [
  ...['request', 'value', 'call', 'ok', 'note', 'args', 'remember', 'agent', 'paused', 'perSec', 'budget', 'ifSeq'],
  ...['cascade', 'code', 'id', 'tools', 'output', 'error', 'at', 'bytes'],
]

describe('an input of any type with data of any sort', () => {
  const types = [
    'approve',
    'answer',
    'govern',
    'stop',
    'tools',
    'tool.result',
    'message',
    'message.now',
    'message.after',
  ]

  test.each(types)('%s is answered, and harms no connection and no run', async (type) => {
    await using served = await waiting({ clientTools: true }, { limits: { messagesPerSec: 1_000_000 } })
    await using client = await served.client()
    client.start(1, 'agent', 'go')
    await served.begun.opened
    const all = [...oddities, ...names.flatMap((name) => oddities.map((value) => ({ [name]: value })))]
    for (const data of all) {
      const answer = await answered(client, type, data)
      expect(answer.kind === 'input_ack' ? (answer.note ?? '').length : 0).toBeLessThan(1_100)
      if (client.frames.some(({ kind }) => kind === 'end')) break
    }
    if (type === 'govern') await answered(client, 'govern', { paused: false, perSec: null, budget: null })
    served.release.open()
    const { outcome, data } = await client.next('end', 1)
    if (type !== 'stop' && type !== 'govern') expect([outcome, data]).toEqual(['done', expect.anything()])
    expect(served.errors).toEqual([])
  })
})

describe('the answer to an input', () => {
  test('is short, however much is wrong with the input', async () => {
    await using served = await waiting({ clientTools: true })
    await using client = await served.client()
    client.start(1, 'agent', 'go')
    await served.begun.opened
    for (const length of [32, 5_000]) {
      const answer = await answered(client, 'tools', { id: 'x', tools: Array.from({ length }, () => ({})) })
      expect(answer).toMatchObject({ kind: 'input_ack', status: 'invalid' })
      expect((answer as { note: string }).note.length).toBeLessThan(1_100)
    }
    served.release.open()
  })

  test('of an unknown type that is huge warns in few words, and the run goes on', async () => {
    await using served = await waiting()
    await using client = await served.client()
    client.start(1, 'agent', 'go')
    await served.begun.opened
    expect(await answered(client, 'x'.repeat(64_000), 0)).toMatchObject({ status: 'accepted' })
    expect(
      await answered(client, 'message', [
        { type: 'image', mediaType: `image/${'x'.repeat(50_000)}`, data: Buffer.of(1) },
      ]),
    ).toMatchObject({ kind: 'input_ack' })
    served.release.open()
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    const warnings = client.items(1).filter(({ type }) => typeof type === 'number' || typeof type === 'string')
    for (const { data } of warnings) expect(JSON.stringify(data).length).toBeLessThan(2_000)
  })
})
