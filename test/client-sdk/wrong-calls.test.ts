import { describe, expect, test } from 'vitest'
import type { Client, ClientOptions, Run } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/actors/actor.ts'
import { testServer } from '../helpers/server.ts'
import { latch } from '../helpers/test-actors.ts'

/** Calls as JavaScript without types, or with wrong ones, lets them through. */
type Loose = { [name in keyof Client | keyof Run]: (...args: unknown[]) => unknown }

const onClient: { [call: string]: (client: Loose) => unknown } = {
  'start(undefined)': (client) => client.start(undefined),
  'start(5)': (client) => client.start(5, null),
  'start(an object)': (client) => client.start({ name: 'echo' }, null),
  'start with a function as input': (client) => client.start('echo', () => 1),
  'start with a symbol as input': (client) => client.start('echo', Symbol('s')),
  'start with a BigInt as input': (client) => client.start('echo', 1n),
  'start with a Date in its input': (client) => client.start('echo', { at: new Date() }),
  'start with a Map in its input': (client) => client.start('echo', [new Map()]),
  'start with an input that refers to itself': (client) => client.start('echo', selfReferring()),
  'start with the key __proto__': (client) => client.start('echo', JSON.parse('{"__proto__": 1}')),
  'start with policy "fast"': (client) => client.start('echo', null, { policy: 'fast' }),
  'start with policy 5': (client) => client.start('echo', null, { policy: 5 }),
  'start with credit -1': (client) => client.start('echo', null, { credit: -1 }),
  'start with credit 1.5': (client) => client.start('echo', null, { credit: 1.5 }),
  'start with credit "8"': (client) => client.start('echo', null, { credit: '8' }),
  'start with credit NaN': (client) => client.start('echo', null, { credit: Number.NaN }),
  'start with rate 0.5': (client) => client.start('echo', null, { rate: 0.5 }),
  'start with rate Infinity': (client) => client.start('echo', null, { rate: Number.POSITIVE_INFINITY }),
  'start with onDetach "stop"': (client) => client.start('echo', null, { onDetach: 'stop' }),
  'start with detachMs "1s"': (client) => client.start('echo', null, { detachMs: '1s' }),
  'start with timeoutMs 0.1': (client) => client.start('echo', null, { timeoutMs: 0.1 }),
  'start with key 5': (client) => client.start('echo', null, { key: 5 }),
  'start with an array as key': (client) => client.start('echo', null, { key: [1, 2] }),
  'start with a key of 65 bytes': (client) => client.start('echo', null, { key: 'k'.repeat(65) }),
  'start with an array as meta': (client) => client.start('echo', null, { meta: [1] }),
  'start with a text as meta': (client) => client.start('echo', null, { meta: 'page' }),
  'start with meta of 2,000 bytes': (client) => client.start('echo', null, { meta: { note: 'x'.repeat(2_000) } }),
  'start with a function in meta': (client) => client.start('echo', null, { meta: { done: () => 1 } }),
  'start with signal 5': (client) => client.start('echo', null, { signal: 5 }),
  'start with an AbortController as signal': (client) => client.start('echo', null, { signal: new AbortController() }),
  'ask(undefined)': (client) => client.ask(undefined),
  'ask with a function as input': (client) => client.ask('echo', () => 1),
  'ask with timeoutMs -1': (client) => client.ask('echo', null, { timeoutMs: -1 }),
  'ask with an array as meta': (client) => client.ask('echo', null, { meta: [1] }),
  'ask with signal 5': (client) => client.ask('echo', null, { signal: 5 }),
  'attach without a run': (client) => client.attach('echo'),
  'attach to null': (client) => client.attach('echo', null),
  'attach to 5': (client) => client.attach('echo', 5),
  'attach to a run object': (client) => client.attach('echo', { id: 'r' }),
  'attach with after "end"': (client) => client.attach('echo', 'r', { after: 'end' }),
  'attach with after null': (client) => client.attach('echo', 'r', { after: null }),
  'attach with after -1': (client) => client.attach('echo', 'r', { after: -1 }),
  'attach with after 0.5': (client) => client.attach('echo', 'r', { after: 0.5 }),
  'attach with after NaN': (client) => client.attach('echo', 'r', { after: Number.NaN }),
  'attach with gen "1"': (client) => client.attach('echo', 'r', { after: 3, gen: '1' }),
  'attach with policy "all"': (client) => client.attach('echo', 'r', { policy: 'all' }),
  'attach with credit "8"': (client) => client.attach('echo', 'r', { credit: '8' }),
  'attach with rate -1': (client) => client.attach('echo', 'r', { rate: -1 }),
  'close with runs "abort"': (client) => client.close({ runs: 'abort' }),
}

const onRun: { [call: string]: (run: Loose) => unknown } = {
  'send(undefined)': (run) => run.send(undefined, 'x'),
  'send(5)': (run) => run.send(5, 'x'),
  'send of a function': (run) => run.send('message', () => 1),
  'send of a BigInt': (run) => run.send('message', { n: 1n }),
  'throttle()': (run) => run.throttle(),
  'throttle(NaN)': (run) => run.throttle(Number.NaN),
  'throttle(-1)': (run) => run.throttle(-1),
  'throttle(0.5)': (run) => run.throttle(0.5),
  'throttle("5")': (run) => run.throttle('5'),
  'cancel of call 5': (run) => run.cancel({ call: 5 }),
  'cancel of call null': (run) => run.cancel({ call: null }),
  'cancel of a call that is undefined': (run) => run.cancel({ call: undefined }),
  'cancel of agent {}': (run) => run.cancel({ agent: {} }),
  'cancel of an agent that is undefined': (run) => run.cancel({ agent: undefined }),
  'cancel with reason "bored"': (run) => run.cancel({ reason: 'bored' }),
  'cancel with reason 5': (run) => run.cancel({ reason: 5 }),
  'cancel with reason "toString"': (run) => run.cancel({ reason: 'toString' }),
  'cancel with note 5': (run) => run.cancel({ note: 5 }),
  'cancel of a call with note {}': (run) => run.cancel({ call: 'c1', note: {} }),
}

const options: { [option: string]: unknown } = {
  'name 5': { name: 5 },
  'flushMs 1.5': { flushMs: 1.5 },
  'flushMs -1': { flushMs: -1 },
  'flushMs "6"': { flushMs: '6' },
  'a Date as auth': { auth: new Date() },
  'a symbol as token': { token: Symbol('token') },
}

function selfReferring(): unknown {
  const node: { [key: string]: unknown } = { name: 'a' }
  node['next'] = { name: 'b', previous: node }
  return node
}

/** The error of a call: it is thrown, or rejected, or the end of the run that the call made. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    const made = call() as Run | Promise<unknown>
    return await ('result' in made ? made.result : made).then(
      (value: unknown) => ({ resolved: value }),
      (error: unknown) => error,
    )
  } catch (error) {
    return error
  }
}

/** Runs that say `1`, wait, and say `2` when all calls were made. */
function waiting() {
  const over = latch()
  return {
    over,
    echo: actor({
      interactive: true,
      async *stream() {
        yield '1'
        await over.opened
        yield '2'
      },
    }),
  }
}

async function served() {
  const { over, echo } = waiting()
  const server = await testServer({ echo })
  const statuses: string[] = []
  const client = createClient<{ echo: typeof echo }>(server.url, {
    token: 'alice',
    onStatus: (status) => statuses.push(status),
  })
  return { server, client, loose: client as unknown as Loose, statuses, over }
}

describe.each(['before', 'after'])('%s WELCOME, a wrong call', (when) => {
  test.each(Object.entries(onClient))('%s is refused as bad_request, and another run goes on', async (_, call) => {
    const { client, loose, statuses, over, ...rest } = await served()
    await using _server = rest.server
    const run = client.start('echo', undefined)
    if (when === 'after') await run.opened
    expect(await errorOf(() => call(loose))).toMatchObject({ name: 'MillraceError', code: 'bad_request' })
    over.open()
    expect(await run.result).toBe('12')
    expect(statuses).toEqual(['connecting', 'open'])
    await client.close()
  })

  test.each(Object.entries(onRun))('%s is refused as bad_request, and its run goes on', async (_, call) => {
    const { client, statuses, over, ...rest } = await served()
    await using _server = rest.server
    const run = client.start('echo', undefined)
    if (when === 'after') await run.opened
    expect(await errorOf(() => call(run as unknown as Loose))).toMatchObject({
      name: 'MillraceError',
      code: 'bad_request',
    })
    over.open()
    expect(await run.result).toBe('12')
    expect(statuses).toEqual(['connecting', 'open'])
    await client.close()
  })
})

describe('createClient', () => {
  test.each(Object.entries(options))('with %s throws bad_request', (_, wrong) => {
    expect(() => createClient('ws://127.0.0.1:1', wrong as ClientOptions)).toThrow(
      expect.objectContaining({ name: 'MillraceError', code: 'bad_request' }),
    )
  })
})

test('null in place of options is as none', async () => {
  const { client, loose, over, ...rest } = await served()
  await using _server = rest.server
  over.open()
  const run = loose.start('echo', null, null) as Run
  expect(await run.result).toBe('12')
  expect(await loose.ask('echo', null, null)).toBe('12')
  expect(await (loose.attach('echo', run.id, null) as Run).result).toBe('12')
  expect(await (run as unknown as Loose).cancel(null)).toMatchObject({ outcome: 'done' })
  expect(await loose.runs(null)).toMatchObject([{ id: run.id }, {}])
  const watch = loose.runs({ watch: 5 }) as AsyncIterableIterator<unknown>
  expect(await watch.next()).toMatchObject({ value: [{ id: run.id }, {}] })
  await watch.return?.()
  await client.close(null as never)
})

test('the error of a wrong argument names it, and that of too much data the limits', async () => {
  const { client, loose, over, ...rest } = await served()
  await using _server = rest.server
  over.open()
  expect(await errorOf(() => loose.start('echo', null, { policy: 'fast' }))).toHaveProperty(
    'message',
    'malformed policy: see its type',
  )
  await client.ask('echo', undefined)
  expect(await errorOf(() => loose.start('echo', 'x'.repeat(300_000)))).toHaveProperty(
    'message',
    'message too large: maxMessage is 262144, maxDepth 16, maxValues 16384',
  )
  await client.close()
})

test.each([1, 0])('a run with credit %i is read to its end', async (credit) => {
  const { client, over, ...rest } = await served()
  await using _server = rest.server
  over.open()
  const run = client.start('echo', undefined, { credit })
  expect(await run.result).toBe('12')
  await client.close()
})

test('a run is read to its end on a server that grants no credit at the beginning', async () => {
  const { over, echo } = waiting()
  await using server = await testServer({ echo }, { limits: { initialCredit: 0 } })
  over.open()
  const client = createClient<{ echo: typeof echo }>(server.url, { token: 'alice' })
  expect(await client.ask('echo', undefined)).toBe('12')
  expect(await client.ask('echo', undefined)).toBe('12')
  await client.close()
})
