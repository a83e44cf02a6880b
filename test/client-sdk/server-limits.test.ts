import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import type { Limits } from '../../protocol/limits.ts'
import { actor } from '../../server/actors/actor.ts'
import { cut, openRun } from '../helpers/scripted-run.ts'
import { done, opened, ScriptedServer } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'
import { latch } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

/** `levels` arrays within each other. */
function nested(levels: number): unknown {
  let value: unknown = 'x'
  for (let n = 0; n < levels; n++) value = [value]
  return value
}

const tooMuch: [what: string, limits: Partial<Limits>, data: unknown][] = [
  ['100 kB where maxMessage is 66,000', { maxMessage: 66_000 }, 'x'.repeat(100_000)],
  ['50 kB where both are 30,000', { maxMessage: 30_000, beforeWelcomeBytes: 30_000 }, 'x'.repeat(50_000)],
  ['12 levels where maxDepth is 8', { maxDepth: 8 }, nested(12)],
  ['100 values where maxValues is 64', { maxValues: 64 }, Array.from({ length: 100 }, () => 1)],
]

const enough: [what: string, limits: Partial<Limits>, data: unknown][] = [
  ['500 kB where maxMessage is 1 MiB', { maxMessage: 1_048_576 }, 'x'.repeat(500_000)],
  ['60 kB where beforeWelcomeBytes is 20,000', { beforeWelcomeBytes: 20_000 }, 'x'.repeat(60_000)],
  ['80 levels where maxDepth is 100', { maxDepth: 100 }, nested(80)],
  ['40,000 values where maxValues is 50,000', { maxValues: 50_000 }, Array.from({ length: 40_000 }, () => 1)],
]

/** Runs that say how long their input is as JSON, once the test lets them, and take inputs. */
function measuring() {
  const over = latch()
  const measure = actor({
    interactive: true,
    async *stream(input: unknown) {
      yield 'a'
      await over.opened
      yield String(JSON.stringify(input).length)
    },
  })
  return { over, measure }
}

describe.each([onWs, onUws])('on $name', (transport) => {
  describe.each(['before', 'after'])('%s WELCOME', (when) => {
    async function connected(limits: Partial<Limits>) {
      const { over, measure } = measuring()
      const server = await testServer({ measure }, { limits: { maxInputBytes: 1_048_576, ...limits } }, transport)
      const client = createClient<{ measure: typeof measure }>(server.url, { token: 'alice' })
      const other = client.start('measure', 'small')
      if (when === 'after') await other.opened
      return { server, client, other, over }
    }

    test.each(tooMuch)('an input of %s fails alone with bad_request', async (_, limits, data) => {
      const { client, other, over, ...rest } = await connected(limits)
      await using _server = rest.server
      await expect((async () => client.start('measure', data).result)()).rejects.toMatchObject({ code: 'bad_request' })
      const last = client.start('measure', 'small')
      over.open()
      expect([await other.result, await last.result]).toEqual(['a7', 'a7'])
      expect(client.status).toBe('open')
      await client.close()
    })

    test.each(tooMuch)('a message to a run, of %s, rejects alone with bad_request', async (_, limits, data) => {
      const { client, other, over, ...rest } = await connected(limits)
      await using _server = rest.server
      const [large, small] = [other.send('message', data), other.send('message', 'small')]
      await expect(large).rejects.toMatchObject({ code: 'bad_request' })
      expect(await small).toBe('accepted')
      over.open()
      expect(await other.result).toBe('a7')
      expect(client.status).toBe('open')
      await client.close()
    })

    test.each(enough)('an input of %s is taken', async (_, limits, data) => {
      const { client, other, over, ...rest } = await connected(limits)
      await using _server = rest.server
      const run = client.start('measure', data)
      over.open()
      expect(await run.result).toBe(`a${JSON.stringify(data).length}`)
      expect(await other.result).toBe('a7')
      await client.close()
    })

    test.each(enough)('a message to a run, of %s, is taken', async (_, limits, data) => {
      const { client, other, over, ...rest } = await connected(limits)
      await using _server = rest.server
      expect(await other.send('message', data)).toBe('accepted')
      over.open()
      await other.result
      await client.close()
    })
  })
})

test('meta that nests deeper than the server allows ends its run alone', async () => {
  const { over, measure } = measuring()
  await using server = await testServer({ measure }, { limits: { maxDepth: 8 } })
  const client = createClient<{ measure: typeof measure }>(server.url, { token: 'alice' })
  const other = client.start('measure', 'small')
  const deep = client.start('measure', 'small', { meta: { page: nested(10) } })
  await expect(deep.result).rejects.toMatchObject({ code: 'bad_request' })
  over.open()
  expect(await other.result).toBe('a7')
  await client.close()
})

test('data that a new server takes no more ends its run alone when the client comes back', async () => {
  const server = new ScriptedServer()
  const client = server.client({ connectMs: 1e6 })
  const [large, small] = [client.start('chat', { prompt: 'x'.repeat(60_000) }), client.start('chat', { prompt: 'hi' })]
  server.socket.welcome()
  expect(server.socket.said()).toEqual(['start', 'start'])
  // The next server closes for what came before its WELCOME.
  server.socket.end()
  for (let n = 0; n < 1_000 && server.sockets.length === 1; n++) await server.time.advance(100)
  server.socket.open()
  expect(server.socket.said()).toEqual(['start', 'start'])
  server.socket.end(4413)
  for (let n = 0; n < 1_000 && server.sockets.length === 2; n++) await server.time.advance(100)
  server.socket.open()
  expect(server.socket.said()).toEqual([])
  server.socket.say({ kind: 'welcome', session: 's', known: false, limits: { maxMessage: 30_000 }, now: 0 })
  await server.settle()
  expect(server.socket.said()).toEqual(['start'])
  const { sid } = server.socket.last('start')
  server.socket.say(opened(sid), done(sid, 1, { result: 'hello' }))
  await expect(large.result).rejects.toMatchObject({ code: 'bad_request' })
  expect(await small.result).toBe('hello')
})

test('an input to a run that a new server takes no more rejects alone when the client comes back', async () => {
  const { run, socket, server } = await openRun()
  const large = run.send('message', 'x'.repeat(100_000))
  const small = run.send('message', 'hi')
  await server.settle()
  expect(socket.said()).toEqual(['input', 'input'])
  socket.end()
  for (let n = 0; n < 1_000 && server.sockets.length === 1; n++) await server.time.advance(100)
  server.socket.welcome({ maxMessage: 70_000 })
  await expect(large).rejects.toMatchObject({ code: 'bad_request' })
  expect(server.socket.said()).toEqual(['attach', 'input'])
  server.socket.say({ kind: 'input_ack', sid: 1, mid: server.socket.last('input').mid, status: 'accepted' })
  expect(await small).toBe('accepted')
})

test('a client whose first try failed sends HELLO alone, and the rest when it knows the limits', async () => {
  const server = new ScriptedServer()
  server.client().start('chat', {})
  server.socket.open()
  server.socket.end()
  for (let n = 0; n < 1_000 && server.sockets.length === 1; n++) await server.time.advance(100)
  server.socket.open()
  expect(server.socket.messages.map((frames) => frames.map(({ kind }) => kind))).toEqual([['hello']])
  server.socket.say({ kind: 'welcome', session: 's', known: false, limits: {}, now: 0 })
  await server.settle()
  expect(server.socket.said()).toEqual(['start'])
  // Once it knows them, it sends everything in the first message again.
  server.socket.say(opened(1))
  expect((await cut(server)).messages[0]?.map(({ kind }) => kind)).toEqual(['hello', 'attach'])
})

test('a server that refuses HELLO itself is not asked for ever', async () => {
  const server = new ScriptedServer()
  const client = server.client()
  const run = client.start('chat', {})
  server.socket.open()
  server.socket.end(4400)
  for (let n = 0; n < 1_000 && server.sockets.length === 1; n++) await server.time.advance(100)
  server.socket.open()
  server.socket.end(4400)
  await expect(run.result).rejects.toMatchObject({ code: 'internal' })
  expect(client.status).toBe('closed')
})
