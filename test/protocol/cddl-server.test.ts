import { expect, test } from 'vitest'
import { EVENT } from '../../protocol/events.ts'
import { type DownFrame, OUTCOMES, TAG } from '../../protocol/frames.ts'
import { type Actor, type ActorContext, actor, agent, MillraceError, tool } from '../../server/index.ts'
import { keysOf, matches } from '../helpers/cddl.ts'
import { msgpackr } from '../helpers/codec-paths.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { type TestServer, testServer } from '../helpers/server.ts'
import { aborted, counter } from '../helpers/test-actors.ts'
import type { FrameOf, WireClient } from '../helpers/wire-client.ts'
import { exact, schema } from '../helpers/wire-schema.ts'

/** A client that was welcomed, and all that its server sent it, as it came. */
async function overheard(
  server: TestServer<Record<string, Actor>>,
  options: { auth?: string; unwelcome?: boolean } = {},
): Promise<{ client: WireClient; said: unknown[][] }> {
  const client = await server.client({ hello: false })
  const said: unknown[][] = []
  client.socket.on('message', (bytes: Buffer) => said.push(...(msgpackr.unpackMultiple(bytes) as unknown[][])))
  client.send({ kind: 'hello', auth: options.auth ?? 'alice', client: client.client, attempt: 1 })
  await client.next(options.unwelcome ? 'notice' : 'welcome')
  return { client, said }
}

/** Every frame is one of those that a server writes. */
function expectInSchema(said: unknown[][]): void {
  expect(said.length).toBeGreaterThan(0)
  expect(said.filter((frame) => !matches(exact, 'written-down-frame', frame))).toEqual([])
}

/** The keys that the last map of the frames with that tag has, of those of one stream. */
function keysSaid(said: unknown[][], tag: number, sid?: number): string[] {
  const maps = said.filter(([first, second]) => first === tag && (sid === undefined || second === sid))
  expect(maps.length).toBeGreaterThan(0)
  return [...new Set(maps.flatMap((frame) => Object.keys(frame.at(-1) as object)))].sort()
}

const inSchema = (rule: string): string[] => keysOf(schema, rule).sort()

/** A cancel that leaves no child. */
const isOfCascade = (key: string): boolean => key !== 'continuing'

test('all that a server says of lanes, requests, answers, gaps and ends is in the schema', async () => {
  const talker = actor({
    async *stream(_: unknown, { emit, request }: ActorContext) {
      yield 'plain'
      yield { type: 'thinking' as const, text: 'hm' }
      yield { type: 'token' as const, text: 'of an agent', agent: 'a' }
      yield { type: 'tool.args' as const, call: 'c1', name: 'search', text: '{"q":1}', agent: 'a' }
      yield { type: 'iteration' as const, n: 1, max: 2 }
      yield { type: 'usage' as const, input: 10, output: 2, cached: 3, thinking: 1, cost: 0.25 }
      const allowed = request({ kind: 'approve', call: 'c1', prompt: 'May it?', expiresMs: 60_000 })
      await emit({ type: 'data', name: 'long', value: 'x'.repeat(3_000) })
      const answers = [await allowed, await request({ kind: 'confirm', schema: { type: 'boolean' } })]
      return answers
    },
  })
  await using server = await testServer({ talker })
  const { client, said } = await overheard(server)
  await using _client = client
  client.start(1, 'talker', null, { ts: true })
  const { run } = await client.next('opened', 1)
  await eventOf(client, 'inputRequest')
  await eventOf(client, 'data')

  client.attach(2, run, null)
  await client.next('opened', 2)
  client.attach(3, run, 0, { policy: 'latest' })
  await client.next('gap', 3)
  expect(keysSaid(said, TAG.opened, 2)).toEqual(inSchema('written-opened-info').filter((key) => key !== 'reused'))
  expect(keysSaid(said, TAG.gap)).toEqual(inSchema('written-gap-info'))
  const lanes = said.flatMap((frame) => (frame[0] === TAG.event && frame[3] === 1 ? [frame[4] as object] : []))
  expect([...new Set(lanes.flatMap((lane) => Object.keys(lane)))].sort()).toEqual(inSchema('lane.start'))

  client.send({ kind: 'input', sid: 1, mid: 'm0', type: 'answer', data: { request: 'nobody asked', value: true } })
  expect((await client.next('input_ack')).note).toBeDefined()
  const approval = { call: 'c1', ok: true, note: 'go on', args: { q: 2 }, remember: true }
  client.send({ kind: 'input', sid: 1, mid: 'm1', type: 'approve', data: approval })
  expect((await client.next('input_ack')).status).toBe('accepted')
  const answer = { request: (await eventOf(client, 'inputRequest')).data['request'], value: false }
  client.send({ kind: 'input', sid: 1, mid: 'm2', type: 'answer', data: answer })
  expect((await client.next('input_ack')).status).toBe('accepted')
  expect((await client.next('end', 1)).data).toMatchObject({ result: [{ ok: true, note: 'go on' }, false] })
  for (const [rule, data] of [['approval', approval] as const, ['answer', answer] as const]) {
    expect(matches(exact, rule, data)).toBe(true)
    expect(keysOf(schema, rule).sort()).toEqual(Object.keys(data).sort())
  }
  expectInSchema(said)
})

test('all that a server says of an agent, of its tools and of their cancel is in the schema', async () => {
  const slow = tool({
    description: 'waits until it is stopped',
    async *run(_: unknown, { signal }) {
      yield { current: 1, total: 2, message: 'half' }
      await aborted(signal)
      return 'stopped'
    },
  })
  const asked = tool({ description: 'needs approval', needsApproval: true, run: () => ({ done: true }) })
  const model = scriptedModel(
    [
      { type: 'thinking', text: 'hm' },
      ...calls({ call: 'c1', name: 'slow', args: { q: 1 } }, { call: 'c2', name: 'asked', args: {} }),
    ],
    says('done'),
  )
  await using server = await testServer({ helper: agent({ model, tools: { slow, asked } }) })
  const { client, said } = await overheard(server)
  await using _client = client
  client.start(1, 'helper', 'help')
  await eventOf(client, 'toolProgress')
  client.send({ kind: 'cancel', sid: 1, code: 1, note: 'enough', target: { type: 'call', id: 'c1' } })
  client.send({ kind: 'input', sid: 1, mid: 'm1', type: 'approve', data: { call: 'c2', ok: true } })
  await client.next('end', 1)
  const types = new Set(said.flatMap((frame) => (frame[0] === TAG.event ? [frame[3]] : [])))
  expect([...types].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  const [result] = dataSaid(said, 'toolResult') as { receipt: object }[]
  expect(Object.keys(result?.receipt ?? {}).sort()).toEqual(inSchema('target-receipt').filter(isOfCascade))
  expect(keysSaid(said, TAG.end)).toEqual(inSchema('done').filter((key) => key !== 'result'))
  expectInSchema(said)
})

test('all that a server says of a cancelled run, of its child and of errors is in the schema', async () => {
  const child = actor({
    async *stream(_: unknown, { signal }: ActorContext) {
      yield { type: 'usage' as const, input: 1, output: 1 }
      yield 'working'
      await aborted(signal)
    },
  })
  const actors = {
    parent: actor({
      async *stream(_: unknown, { spawn, signal }: ActorContext) {
        yield* spawn(child, undefined, { name: 'worker' })
        await aborted(signal)
      },
    }),
    failing: actor({
      async *stream(_: unknown) {
        yield { type: 'usage' as const, input: 1, output: 1 }
        throw new MillraceError('tool_failed', 'it failed', { details: { why: 'no' } })
      },
    }),
  }
  await using server = await testServer(actors)
  const { client, said } = await overheard(server)
  await using _client = client
  client.start(1, 'parent')
  const id = (await eventOf(client, 'agentStart')).data['agent'] as string
  await client.next('delta')
  client.send({ kind: 'cancel', sid: 1, note: 'enough', target: { type: 'agent', id } })
  const [ended] = [await eventOf(client, 'agentEnd')].map(({ data }) => data as { usage: object; receipt: object })
  expect(Object.keys(ended?.receipt ?? {}).sort()).toEqual(inSchema('target-receipt').filter(isOfCascade))
  expect(Object.keys(ended?.usage ?? {}).sort()).toEqual(['exact', 'input', 'output'])
  client.send({ kind: 'cancel', sid: 1, code: 1, note: 'enough' })
  await client.next('end', 1)
  expect(keysSaid(said, TAG.end, 1)).toEqual(inSchema('receipt').filter(isOfCascade))

  client.start(2, 'failing')
  await client.next('end', 2)
  expect(keysSaid(said, TAG.end, 2)).toEqual(inSchema('error'))
  client.start(3, 'nobody')
  expect((await client.next('end', 3)).seq).toBe(0)
  expectInSchema(said)
})

test('all that a server says of what is refused, waits, goes away or is given up is in the schema', async () => {
  const limits = { retainPrincipal: 8_000 }
  await using server = await testServer({ counter: counter() }, { name: 'node-a', limits })
  const alice = await overheard(server)
  await using _alice = alice.client
  const eve = await overheard(server, { auth: 'eve' })
  await using _eve = eve.client
  const mallory = await overheard(server, { auth: 'mallory', unwelcome: true })
  await using _mallory = mallory.client
  expect(keysSaid(alice.said, TAG.welcome)).toEqual(inSchema('welcome-info'))
  expect(Object.keys((alice.said[0]?.[1] as { limits: object }).limits).sort()).toEqual(inSchema('limits'))

  alice.client.start(1, 'counter', 100, { credit: 1, policy: 'merge', key: 'k' })
  const { run } = await alice.client.next('opened', 1)
  const settled = await alice.client.next('notice')
  expect(settled).toMatchObject({ code: 'settled', ref: { tag: TAG.end, sid: 1, detail: OUTCOMES.indexOf('done') } })
  alice.client.start(2, 'counter', 100, { key: 'k', credit: 0 })
  expect((await alice.client.next('opened', 2)).reused).toBe(true)
  eve.client.attach(1, run, 0)
  await eve.client.next('opened', 1)
  eve.client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'c1' } })
  eve.client.send({ kind: 'input', sid: 1, mid: 'm', type: 'own', data: null })
  for (let sid = 3; sid < 9; sid++) {
    alice.client.start(sid, 'counter', 100)
    await alice.client.next('end', sid)
  }
  expect((await alice.client.next('end', 1)).outcome).toBe('unsubscribed')

  await server.server.close({ drainMs: 0 })
  await Promise.all([alice.client.closed, eve.client.closed])
  const tags = [...alice.said, ...eve.said, ...mallory.said].map(([tag]) => tag)
  expect(tags).toEqual(expect.arrayContaining([TAG.goaway, TAG.notice, TAG.end]))
  for (const { said } of [alice, eve, mallory]) expectInSchema(said)
})

/** The next event of that type on stream 1. */
async function eventOf(client: WireClient, type: keyof typeof EVENT): Promise<FrameOf<'event'>> {
  const isMeant = (frame: DownFrame): boolean => frame.kind === 'event' && frame.sid === 1 && frame.type === EVENT[type]
  return (await client.find(isMeant)) as FrameOf<'event'>
}

/** The data of all events of that type. */
function dataSaid(said: unknown[][], type: keyof typeof EVENT): object[] {
  return said.flatMap((frame) => (frame[0] === TAG.event && frame[3] === EVENT[type] ? [frame[4] as object] : []))
}
