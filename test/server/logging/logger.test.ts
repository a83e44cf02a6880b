import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { encodeUp } from '../../../protocol/encode.ts'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor } from '../../../server/actors/actor.ts'
import { agent } from '../../../server/agents/agent.ts'
import { type LogFields, type Logger, RECORDS } from '../../../server/logging/logger.ts'
import { mcp } from '../../../server/mcp/mcp-endpoint.ts'
import type { Model } from '../../../server/models/model.ts'
import { createServer } from '../../../server/server.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { root } from '../../helpers/root.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { stderrOf } from '../../helpers/stderr.ts'
import { silent } from '../../helpers/test-actors.ts'

type Written = { level: keyof Logger; fields: LogFields; message: string }

/** A logger that keeps what it is given. */
function kept(): Logger & { readonly all: Written[]; of(event: string): LogFields[] } {
  const all: Written[] = []
  const write = (level: keyof Logger) => (fields: LogFields, message: string) =>
    void all.push({ level, fields, message })
  return {
    all,
    of: (event) => all.filter(({ fields }) => fields.event === event).map(({ fields }) => fields),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  }
}

const words = actor({
  async *stream() {
    yield 'a'
    yield 'b'
    return { n: 2 }
  },
})

describe('a logger receives', () => {
  test('a client that connects, its run from start to end, its leaving, and the shutdown', async () => {
    const logger = kept()
    await using served = await testServer({ words }, { logger })
    {
      await using client = await served.client()
      client.start(1, 'words')
      const { run } = await client.next('opened')
      await client.next('end')
      const about = { run, actor: 'words', principal: 'alice' }
      expect(logger.of('run.started')).toEqual([{ event: 'run.started', ...about }])
      expect(logger.of('run.ended')).toEqual([
        {
          event: 'run.ended',
          ...about,
          outcome: 'done',
          ms: expect.any(Number),
          items: 2,
          bytes: 4,
          firstMs: expect.any(Number),
        },
      ])
    }
    await eventually(() => logger.of('connection.closed').length > 0, 'the client left')
    const [opened] = logger.of('connection.opened')
    expect(opened).toMatchObject({ principal: 'alice', session: expect.stringMatching(/^s_/) })
    expect(logger.of('connection.closed')).toMatchObject([{ session: opened?.['session'], code: expect.any(Number) }])
    await served.server.close({ drainMs: 0, reason: 'deploy' })
    expect(logger.of('server.listening')).toMatchObject([{ port: Number(new URL(served.url).port) }])
    expect(logger.of('server.closing')).toMatchObject([{ reason: 'deploy', runs: 0 }])
    expect(logger.of('server.closed')).toHaveLength(1)
  })

  test('why a run failed: its code at its end, and the error itself once', async () => {
    const logger = kept()
    const cause = new Error('no database')
    const broken = actor({
      async *stream() {
        yield 'a'
        throw cause
      },
    })
    await using served = await testServer({ broken }, { logger })
    await using client = await served.client()
    client.start(1, 'broken')
    const { run } = await client.next('opened')
    await client.next('end')
    expect(logger.of('run.failed')).toEqual([{ event: 'run.failed', actor: 'broken', run, err: cause }])
    expect(logger.of('run.ended')).toMatchObject([{ run, outcome: 'error', code: 'actor_failed' }])
    expect(served.errors).toEqual([cause])
  })

  test('the error of a provider, with the id of its model', async () => {
    const logger = kept()
    const refusing: Model = {
      id: 'test:refusing',
      provider: 'test',
      async *stream() {
        throw new MillraceError('provider_overloaded', 'the provider has no room')
      },
    }
    await using served = await testServer({ chat: agent({ model: refusing }) }, { logger })
    await using client = await served.client()
    client.start(1, 'chat', 'hello')
    await client.next('end')
    expect(logger.of('model.failed')).toMatchObject([
      { actor: 'chat', model: 'test:refusing', code: 'provider_overloaded', err: { name: 'ModelFailure' } },
    ])
  })

  test('refused credentials, and a fault before WELCOME, with the address', async () => {
    const logger = kept()
    await using served = await testServer({ silent: silent() }, { logger })
    await using refused = await served.client({ auth: 'wrong', hello: 'unanswered' })
    expect(await refused.closed).toBe(4401)
    await using faulty = await served.client({ hello: false })
    faulty.sendRaw(Buffer.of(0xc1))
    expect(await faulty.closed).toBe(4400)
    const address = expect.stringMatching(/127\.0\.0\.1/)
    expect(logger.of('connection.refused')).toEqual([
      { event: 'connection.refused', address, code: 4401, reason: 'the credentials were refused' },
      { event: 'connection.refused', address, code: 4400, reason: expect.any(String) },
    ])
    expect(logger.of('connection.closed')).toEqual([])
  })

  test('which actor a client asked for in vain, and which there are: the client learns only the first', async () => {
    const logger = kept()
    await using served = await testServer({ words, silent: silent() }, { logger })
    await using client = await served.client()
    client.start(1, 'wrods')
    expect((await client.next('end', 1)).data).toEqual({
      code: 'not_found',
      message: 'unknown actor "wrods"; the server\'s log lists its actors',
      retryable: false,
    })
    expect(logger.of('actor.unknown')).toEqual([
      { event: 'actor.unknown', actor: 'wrods', known: 'words, silent', principal: 'alice' },
    ])
  })

  test.each([
    ['runs', { maxRuns: 1 }, { code: 'overloaded' }],
    ['streams', { maxStreams: 1 }, { code: 'too_many_streams' }],
    ['starts', { startBurst: 1 }, { code: 'rate_limited' }],
  ])('that a principal met the limit of its %s', async (_, limits, says) => {
    const logger = kept()
    await using served = await testServer({ silent: silent() }, { logger, limits })
    await using client = await served.client()
    client.start(1, 'silent')
    client.start(2, 'silent')
    await client.next('end', 2)
    expect(logger.of('limit.met')).toMatchObject([{ principal: 'alice', ...says, reason: expect.any(String) }])
    expect(logger.of('run.refused')).toEqual([])
  })

  test('that a principal met a limit, whichever way of HTTP its request took, and as nothing else', async () => {
    const logger = kept()
    const options = { logger, limits: { maxRuns: 1 }, http: { mcp: mcp() } }
    await using served = await httpServed({ silent: silent() }, options)
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    const met = (): number => logger.of('limit.met').length
    const says = [{ principal: 'alice', code: 'overloaded', reason: expect.any(String) }]

    const plain = await served.http().request('POST', '/runs', { body: { actor: 'silent', input: null } })
    expect(plain.status).toBe(503)
    expect(logger.of('limit.met')).toMatchObject(says)

    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'silent', arguments: {} } }
    const headers = { accept: 'application/json, text/event-stream' }
    const tool = await served.http().request('POST', '/mcp', { body: call, headers })
    expect(tool.status).toBe(200)
    expect(await tool.text()).toContain('overloaded')
    expect(met()).toBe(2)

    const socket = new WebSocket(`${served.url}/ai-sdk/silent`, { headers: { authorization: 'Bearer alice' } })
    await once(socket, 'open')
    const messages = [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'hello' }] }]
    const answer = once(socket, 'message')
    socket.send(JSON.stringify({ type: 'send', requestId: 'q', id: 'c', messages, trigger: 'submit-message' }))
    expect(String((await answer)[0])).toContain('overloaded')
    socket.close()
    expect(met()).toBe(3)
    expect(logger.of('run.refused')).toEqual([])
  })

  test('that a client met the limit of its messages', async () => {
    const logger = kept()
    await using served = await testServer({ silent: silent() }, { logger, limits: { messagesPerSec: 5 } })
    await using client = await served.client()
    for (let nonce = 0; nonce < 20; nonce++) client.sendRaw(encodeUp([{ kind: 'ping', nonce }]))
    expect(await client.closed).toBe(4429)
    const about = { principal: 'alice', code: 4429, reason: 'more than 5 messages a second' }
    expect(logger.of('limit.met')).toMatchObject([about])
    expect(logger.of('connection.closed')).toMatchObject([about])
  })
})

describe('a flood does not fill the log:', () => {
  test('what says the same is written once in 10 seconds, and then how often it was left out', async () => {
    const logger = kept()
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { logger, runtime })
    await using client = await served.client()
    const refuse = async (from: number, to: number): Promise<void> => {
      for (let sid = from; sid <= to; sid++) client.attach(sid, 'r_nothing', 0)
      await client.next('end', to)
    }
    await refuse(1, 50)
    const [first] = logger.of('run.refused')
    expect(first).toMatchObject({ principal: 'alice', code: 'not_found' })
    runtime.advance(9_000)
    await refuse(51, 60)
    expect(logger.of('run.refused')).toEqual([first])
    runtime.advance(1_000)
    expect(logger.of('run.refused')).toEqual([first, { event: 'run.refused', leftOut: 59 }])
    await refuse(61, 62)
    expect(logger.of('run.refused')).toEqual([first, { event: 'run.refused', leftOut: 59 }, first])
  })

  test('of one kind of refusal 20 different ones are written in 10 seconds', async () => {
    const logger = kept()
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { logger, runtime, limits: { maxConnections: 100 } })
    for (let n = 0; n < 30; n++) {
      const client = await served.client()
      client.attach(1, 'r_nothing', 0)
      await client.next('end', 1)
    }
    expect(logger.of('run.refused')).toHaveLength(20)
    expect(logger.of('connection.opened')).toHaveLength(30)
    runtime.advance(10_000)
    expect(logger.of('run.refused')).toHaveLength(21)
    expect(logger.of('run.refused').at(-1)).toEqual({ event: 'run.refused', leftOut: 10 })
  })

  test('starts and ends of runs are never left out', async () => {
    const logger = kept()
    const runtime = handClock()
    await using served = await testServer({ words }, { logger, runtime, limits: { startBurst: 1_000 } })
    await using client = await served.client()
    for (let sid = 1; sid <= 60; sid++) {
      client.start(sid, 'words')
      await client.next('end', sid)
    }
    expect(logger.of('run.started')).toHaveLength(60)
    expect(logger.of('run.ended')).toHaveLength(60)
  })

  test('what was left out is reported when the server closes', async () => {
    const logger = kept()
    await using served = await testServer({ silent: silent() }, { logger })
    await using client = await served.client()
    for (let sid = 1; sid <= 30; sid++) client.attach(sid, 'r_nothing', 0)
    await client.next('end', 30)
    await served.server.close({ drainMs: 0 })
    expect(logger.of('run.refused').at(-1)).toEqual({ event: 'run.refused', leftOut: 29 })
  })
})

describe('a logger that fails harms nothing', () => {
  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('the disk is full')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the disk is full'))],
    [
      'returns what cannot be read',
      () => ({
        // biome-ignore lint/suspicious/noThenProperty: that is what it is about.
        get then() {
          throw new Error('the disk is full')
        },
      }),
    ],
  ])('when it %s, and says so once on stderr', async (_, fails) => {
    const written = await stderrOf(async () => {
      const logger: Logger = { debug: fails, info: fails, warn: fails, error: fails }
      await using served = await testServer({ words }, { logger })
      await using client = await served.client()
      for (let sid = 1; sid <= 3; sid++) {
        client.start(sid, 'words')
        expect((await client.next('end', sid)).outcome).toBe('done')
      }
      client.start(4, 'nobody')
      expect((await client.next('end', 4)).data).toMatchObject({ code: 'not_found' })
      const refused = await served.client({ auth: 'wrong', hello: 'unanswered' })
      expect(await refused.closed).toBe(4401)
    })
    expect(written).toMatch(/^millrace: error: "Error: the disk is full.*\n$/)
  })

  test('and one that lacks a method is refused when the server is made', () => {
    const logger = { info() {}, warn() {}, error() {} }
    const make = (): unknown =>
      createServer({ actors: { words }, authenticate: bearer({ t: 'a' }), logger: logger as never })
    expect(make).toThrow('logger needs the methods debug, info, warn, error; it has no debug')
  })
})

test('pino fits as it is, with its levels', async () => {
  const lines: { [name: string]: unknown }[] = []
  const sink = new Writable({
    write(chunk, _, done) {
      lines.push(JSON.parse(String(chunk)) as { [name: string]: unknown })
      done()
    },
  })
  const broken = actor({
    ask() {
      throw new Error('no database')
    },
  })
  await using served = await testServer({ words, broken }, { logger: pino({ level: 'info' }, sink) })
  await using client = await served.client()
  client.start(1, 'words')
  client.start(2, 'broken')
  await client.next('end', 1)
  await client.next('end', 2)
  const of = (event: string): unknown[] => lines.filter((line) => line['event'] === event)
  expect(of('run.started')).toMatchObject([{ level: 30, actor: 'words', msg: 'a run started' }, { actor: 'broken' }])
  expect(of('run.failed')).toMatchObject([{ level: 50, err: { type: 'Error', message: 'no database' } }])
  expect(lines.every(({ level }) => Number(level) >= 30)).toBe(true)
})

describe('without a logger', () => {
  test('stderr has warnings and errors, one line each, and nothing of what goes well', async () => {
    const broken = actor({
      ask() {
        throw new Error('no database')
      },
    })
    const written = await stderrOf(async () => {
      await using served = await testServer(
        { words, broken },
        { onError: undefined as never, logger: undefined as never, limits: { maxStreams: 2 } },
      )
      await using client = await served.client()
      client.start(1, 'words')
      await client.next('end', 1)
      client.start(2, 'broken')
      await client.next('end', 2)
      for (let sid = 3; sid <= 5; sid++) client.start(sid, 'broken', undefined, { credit: 0 })
      await client.next('end', 5)
    })
    const lines = written.split('\n').filter((line) => line !== '')
    const failed = /^millrace: error in actor broken, run r_\S+: "Error: no database/
    const limited = /^millrace: warning: a limit was met: \{"address":".*","code":"too_many_streams",.*\}$/
    expect(lines[0]).toMatch(failed)
    expect(lines.filter((line) => limited.test(line))).toHaveLength(1)
    expect(lines.filter((line) => !limited.test(line) && !failed.test(line))).toEqual([])
  })

  test('an onError alone receives the errors, and stderr has none of them', async () => {
    const broken = actor({
      ask() {
        throw new Error('no database')
      },
    })
    const written = await stderrOf(async () => {
      await using served = await testServer({ broken }, { logger: undefined as never })
      await using client = await served.client()
      client.start(1, 'broken')
      await client.next('end', 1)
      expect(served.errors).toHaveLength(1)
    })
    expect(written).toBe('')
  })
})

test('the page on logging lists every record with its level', () => {
  const page = readFileSync(`${root}docs/logging.md`, 'utf8')
  for (const [event, [level]] of Object.entries(RECORDS))
    expect(page).toMatch(new RegExp(`^\\| \`${event}\` \\| ${level} \\|`, 'm'))
})
