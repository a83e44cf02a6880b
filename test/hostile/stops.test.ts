import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type AgentDefinition, agent, tool } from '../../server/index.ts'
import { openai } from '../../server/models/openai.ts'
import { FakeProvider } from '../helpers/fake-provider.ts'
import type { Behaviour } from '../helpers/fake-provider-wire.ts'
import { eventually, testServer } from '../helpers/server.ts'
import type { WireClient } from '../helpers/wire-client.ts'

let provider: FakeProvider

beforeAll(async () => {
  provider = await FakeProvider.start()
})
afterAll(() => provider[Symbol.asyncDispose]())

const call = (name: string): Behaviour => ({ calls: [{ name, args: '{}', id: 'c1' }], finish: 'tool_calls' })
const input = (mid: string, type: string, data: unknown) => ({ kind: 'input', sid: 1, mid, type, data }) as const

/** A run of an agent whose real provider answers in this way, and holds its `n`th answer open if there is one. */
async function run(model: string, definition: Partial<AgentDefinition>, ...answers: Behaviour[]) {
  await provider.behave(model, ...answers)
  const made = openai(model, { apiKey: 'k', baseURL: provider.baseURL, env: {} })
  const served = await testServer({ agent: agent({ ...definition, model: made }) })
  const client = await served.client()
  return Object.assign(served, { client })
}

const ask = (model: string) => tool({ description: model, needsApproval: true, run: () => 'ran' })

const has = (client: WireClient, text: string): Promise<void> =>
  client.until(() => JSON.stringify(client.items(1)).includes(text), text)

const endless: Behaviour = { tokens: 1_000_000, everyMs: 5, hold: 'end' }

/** What a run waits for, and how it came to that. `open`: the request whose socket must close, from 1. */
const states: {
  name: string
  definition: Partial<AgentDefinition>
  answers: Behaviour[]
  open?: number
  reach(client: WireClient): Promise<void>
}[] = [
  {
    name: 'is paused while its model answers',
    definition: {},
    answers: [endless],
    open: 1,
    async reach(client) {
      client.start(1, 'agent', 'go')
      await has(client, 't1')
      client.send(input('p', 'govern', { paused: true }))
      await has(client, 'paused')
    },
  },
  {
    name: 'is held by a low rate while its model answers',
    definition: {},
    answers: [endless],
    open: 1,
    async reach(client) {
      client.start(1, 'agent', 'go')
      await has(client, 't1')
      client.send(input('p', 'govern', { perSec: 0.001 }))
      await has(client, 'governed')
    },
  },
  {
    name: 'waits for an approval',
    definition: { tools: { pay: ask('x') } },
    answers: [call('pay')],
    async reach(client) {
      client.start(1, 'agent', 'go')
      await has(client, '"approve"')
    },
  },
  {
    name: 'waits for a client tool',
    definition: { clientTools: true },
    answers: [call('locate')],
    async reach(client) {
      const tools = [{ name: 'locate', description: 'x', parameters: { type: 'object' } }]
      client.send(
        { kind: 'start', sid: 1, actor: 'agent', input: 'go', options: {} },
        input('t', 'tools', { id: 'page', tools }),
      )
      await has(client, 'client.tool')
    },
  },
  {
    name: 'asks again for an answer that fits',
    definition: { output: z.object({ a: z.number() }) },
    answers: [{ texts: ['{}'] }, endless],
    open: 2,
    async reach(client) {
      client.start(1, 'agent', 'go')
      await has(client, 'invalid_output')
      await has(client, 't1')
    },
  },
  {
    name: 'answers a message that cut its answer off',
    definition: {},
    answers: [endless, endless],
    open: 2,
    async reach(client) {
      client.start(1, 'agent', 'go')
      await has(client, 't1')
      client.send(input('n', 'message.now', 'shorter'))
      await has(client, 'input_taken')
      const before = client.text(1).length
      await client.until(() => client.text(1).length > before)
    },
  },
]

describe.each(['cancel', 'stop'] as const)('a %s', (how) => {
  test.each(states)('stops a run that $name, down to the socket of its provider', async (state) => {
    const model = `${state.name} ${how}`
    await using served = await run(model, state.definition, ...state.answers)
    const { client } = served
    await state.reach(client)
    client.send(how === 'cancel' ? { kind: 'cancel', sid: 1 } : input('stop', 'stop', { ifSeq: 2 ** 40 }))
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    for (let n = 1; n <= (state.open ?? 0); n++) {
      const { id } = await provider.request(model, n)
      const { whole } = await provider.closed(id)
      if (n === state.open) expect(whole).toBe(false)
    }
    await eventually(() => served.server.liveRuns === 0, 'it has settled')
    expect(served.errors).toEqual([])
  })
})
