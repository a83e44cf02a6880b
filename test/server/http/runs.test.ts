import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor } from '../../../server/actors/actor.ts'
import { tool } from '../../../server/actors/tool.ts'
import { rawHttp } from '../../helpers/http-client.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { eventually } from '../../helpers/server.ts'
import { counted, counter, latch, silent } from '../../helpers/test-actors.ts'

const hello = actor({ ask: () => ({ said: 'hello' }) })

describe('POST /runs', () => {
  test('starts a run, and says where it is', async () => {
    await using server = await httpServed({ count: counter() })
    const { status, body, headers } = await server.http().json('POST', '/runs', { actor: 'count', input: 3 })
    expect(status).toBe(201)
    expect(body).toMatchObject({ actor: 'count', gen: 1, reused: false })
    expect(headers.get('location')).toBe(`runs/${String(body['run'])}`)
  })

  test('streams the run in the same answer when the client accepts server-sent events', async () => {
    await using server = await httpServed({ count: counter() })
    await using stream = await server.http().stream('POST', '/runs', { actor: 'count', input: 3 })
    expect(stream.response.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    const end = await stream.end()
    expect(end).toMatchObject({ outcome: 'done', seq: 4 })
    expect(stream.said).toBe('1 2 3 ')
    expect(stream.events.map(({ id }) => id)).toEqual(['1-1', '1-2', '1-3'])
    expect(await stream.over).toBe('whole')
    expect((await stream.opened()).run).toBe(stream.response.headers['millrace-run'])
  })

  test('says so when the body is empty, and what to send', async () => {
    await using server = await httpServed({ count: counter() })
    for (const [path, headers] of [
      ['/runs', {}],
      ['/runs', { 'content-type': 'application/json' }],
      ['/runs/x/input', {}],
      ['/runs/x/rate', {}],
      ['/tickets', {}],
      ['/ag-ui/count', {}],
      ['/ai-sdk/count', {}],
    ] as const) {
      const { status, body } = await server.http().json('POST', path, undefined, headers)
      expect([status, body['detail']], path).toEqual([
        400,
        'the body is empty: send JSON, with Content-Type: application/json',
      ])
    }
  })

  test('with the same key and input gives the same run, and with another input none', async () => {
    await using server = await httpServed({ hello })
    const http = server.http()
    const first = await http.json('POST', '/runs', { actor: 'hello', input: 1, key: 'k' })
    const second = await http.json('POST', '/runs', { actor: 'hello', input: 1, key: 'k' })
    expect(second).toMatchObject({ status: 200, body: { run: first.body['run'], reused: true } })
    const third = await http.json('POST', '/runs', { actor: 'hello', input: 2, key: 'k' })
    expect(third).toMatchObject({ status: 409, body: { code: 'key_conflict', status: 409 } })
    expect(third.headers.get('content-type')).toBe('application/problem+json')
  })

  test('runs go on without a reader, and their result can be fetched', async () => {
    await using server = await httpServed({ hello })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'hello' })
    const page = await http.json('GET', `/runs/${String(body['run'])}/events?wait=5000`, undefined, {
      accept: 'application/json',
    })
    expect(page.body).toMatchObject({ events: [{ type: 'data', seq: 1 }], end: { outcome: 'done' } })
    const run = await http.json('GET', `/runs/${String(body['run'])}`)
    expect(run.body).toMatchObject({ state: 'ended', outcome: 'done', pending: [], end: { result: { said: 'hello' } } })
  })

  test.each([
    ['an unknown actor', { actor: 'nobody' }, 404, 'not_found'],
    ['an input that its schema rejects', { actor: 'strict', input: { n: 'x' } }, 422, 'invalid_input'],
    ['a member that is misspelt', { actor: 'strict', ondetach: 'pause' }, 400, 'bad_request'],
    ['no actor', {}, 400, 'bad_request'],
    ['a body that is a list', [], 400, 'bad_request'],
    ['data that is too deep', { actor: 'count', input: nested(20) }, 400, 'bad_request'],
    ['a key __proto__', '{"actor":"count","input":{"__proto__":1}}', 400, 'bad_request'],
    ['a meta that is too large', { actor: 'count', input: 1, meta: { a: 'x'.repeat(2_000) } }, 400, 'bad_request'],
    ['a lone surrogate', '{"actor":"count","input":"\\ud800"}', 400, 'bad_request'],
  ])('answers %s with a problem', async (_, body, status, code) => {
    const strict = actor({ input: z.object({ n: z.number() }), ask: ({ n }) => n })
    await using server = await httpServed({ count: counter(), strict })
    const answer = await server.http().json('POST', '/runs', body)
    expect(answer).toMatchObject({ status, body: { type: 'about:blank', status, code, retryable: false } })
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(server.errors).toEqual([])
  })
})

describe('GET /runs/:run/events', () => {
  test('goes on behind Last-Event-ID, and nothing is lost or there twice', async () => {
    await using server = await httpServed({ count: counter() })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'count', input: 50 })
    const path = `/runs/${String(body['run'])}/events`
    let text = ''
    let id = ''
    for (;;) {
      const stream = await http.stream('GET', path, undefined, id === '' ? {} : { 'last-event-id': id })
      await stream.until(() => stream.events.length >= 7 || stream.all.some(({ event }) => event === 'end'), 'events')
      const taken = stream.events.slice(0, 7)
      for (const event of taken) if (event.type === 'token') text += event.text
      id = taken.at(-1)?.id ?? id
      const isOver = stream.events.length <= 7 && stream.all.some(({ event }) => event === 'end')
      await stream[Symbol.asyncDispose]()
      if (isOver) break
    }
    expect(text).toBe(counted(1, 50))
  })

  test('answers 204 to a client that has seen the end, so that an EventSource stops', async () => {
    await using server = await httpServed({ count: counter() })
    const http = server.http()
    await using stream = await http.stream('POST', '/runs', { actor: 'count', input: 2 })
    const { id } = await stream.find(({ event }) => event === 'end', 'the end')
    const { run } = await stream.opened()
    const again = await http.request('GET', `/runs/${run}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': id },
    })
    expect(again.status).toBe(204)
  })

  test('reports items that are no longer kept as a gap', async () => {
    const limits = { retainEvents: 2_000, maxCredit: 100, initialCredit: 100 }
    await using server = await httpServed({ count: counter() }, { limits })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'count', input: 5_000 })
    const run = `/runs/${String(body['run'])}`
    await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    await using stream = await http.stream('GET', `${run}/events`)
    await stream.end()
    const [gap, next] = stream.events
    expect(gap).toMatchObject({ type: 'gap', from: 1, reason: 'retention' })
    expect(next).toMatchObject({ seq: gap?.type === 'gap' ? gap.next : 0 })
    expect(stream.events.at(-1)).toMatchObject({ seq: 5_000 })
  })

  test('pages through the events as JSON', async () => {
    await using server = await httpServed({ count: counter() })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'count', input: 1_500 })
    await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    let after = 'start'
    let text = ''
    let pages = 0
    for (let more = true; more; pages++) {
      const { body: page } = await http.json('GET', `/runs/${String(body['run'])}/events?after=${after}`, undefined, {
        accept: 'application/json',
      })
      for (const event of page['events'] as { text: string }[]) text += event.text
      after = String(page['next'])
      more = page['end'] === undefined
    }
    expect(pages).toBeGreaterThan(1)
    expect(text).toBe(counted(1, 1_500))
    const { body: last } = await http.json('GET', `/runs/${String(body['run'])}/events?after=${after}`, undefined, {
      accept: 'application/json',
    })
    expect(last).toMatchObject({ events: [], end: { outcome: 'done' } })
  })

  test('merges text that waits when the policy says so', async () => {
    await using server = await httpServed({ count: counter() })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'count', input: 1_000 })
    await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    await using stream = await http.stream('GET', `/runs/${String(body['run'])}/events?policy=merge`)
    await stream.end()
    expect(stream.said).toBe(counted(1, 1_000))
    expect(stream.events.length).toBeLessThan(20)
    expect(stream.events.at(-1)?.id).toBe('1-1000')
  })

  test('begins paused with rate 0, and goes on when the rate is set', async () => {
    await using server = await httpServed({ count: counter() })
    const http = server.http()
    await using stream = await http.stream('POST', '/runs?rate=0', { actor: 'count', input: 5 })
    const { run, stream: id } = await stream.opened()
    expect(await http.json('POST', `/runs/${run}/rate`, { perSec: null, stream: 'another' })).toMatchObject({
      status: 404,
    })
    expect(stream.events).toEqual([])
    expect(await http.json('POST', `/runs/${run}/rate`, { perSec: null, stream: id })).toMatchObject({
      body: { streams: 1 },
    })
    await stream.end()
    expect(stream.said).toBe(counted(1, 5))
  })

  test('has the questions that wait in its opening', async () => {
    const asks = actor({
      async *stream(_: unknown, { request }) {
        yield `you said ${String(await request({ kind: 'choice', prompt: 'which?' }))}`
      },
    })
    await using server = await httpServed({ asks })
    const http = server.http()
    await using first = await http.stream('POST', '/runs', { actor: 'asks' })
    await first.until(() => first.events.some(({ type }) => type === 'request'), 'the question')
    const { run } = await first.opened()
    await using second = await http.stream('GET', `/runs/${run}/events?after=live`)
    const { pending } = await second.opened()
    const [question] = pending as { request: string; prompt: string }[]
    expect(question).toMatchObject({ prompt: 'which?' })
    const answer = await http.json('POST', `/runs/${run}/input`, {
      type: 'answer',
      data: { request: question?.request, value: 'this' },
    })
    expect(answer.body).toMatchObject({ status: 'accepted' })
    await first.end()
    expect(first.said).toBe('you said this')
  })
})

describe('a client that leaves its stream', () => {
  test('detaches, and the run goes on', async () => {
    const count = counter()
    const go = latch()
    const waits = actor({
      async *stream() {
        yield 'a'
        await go.opened
        yield 'b'
      },
    })
    await using server = await httpServed({ count, waits })
    const http = server.http()
    const stream = await http.stream('POST', '/runs', { actor: 'waits' })
    const { run } = await stream.opened()
    await stream.until(() => stream.said === 'a', 'the first text')
    stream.leave()
    await stream.over
    go.open()
    await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    expect((await http.json('GET', `/runs/${run}`)).body).toMatchObject({ outcome: 'done' })
  })

  test('cancels the run with disconnect=cancel', async () => {
    await using server = await httpServed({ silent: silent() })
    const http = server.http()
    const stream = await http.stream('POST', '/runs?disconnect=cancel', { actor: 'silent' })
    const { run } = await stream.opened()
    stream.leave()
    await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    expect((await http.json('GET', `/runs/${run}`)).body).toMatchObject({
      end: { outcome: 'cancelled', receipt: { reason: 'detached', by: 'server', note: 'its client disconnected' } },
    })
  })
})

describe('POST /runs/:run/cancel', () => {
  test('answers with the receipt, and every stream sees the same end', async () => {
    const count = counter()
    await using server = await httpServed({ count, silent: silent() })
    const http = server.http()
    await using stream = await http.stream('POST', '/runs', { actor: 'silent' })
    const { run } = await stream.opened()
    const { status, body } = await http.json('POST', `/runs/${run}/cancel`, { reason: 'superseded', note: 'enough' })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      run,
      confirmed: true,
      outcome: 'cancelled',
      receipt: { reason: 'superseded', by: 'client', note: 'enough', settled: true, provider: 'none', kept: 0 },
    })
    expect(await stream.end()).toMatchObject({ outcome: 'cancelled', receipt: body['receipt'] })
    const again = await http.json('POST', `/runs/${run}/cancel`)
    expect(again.body).toEqual(body)
  })

  test.each([
    ['nothing at all', {}, undefined],
    ['a type and nothing of it', { 'Content-Type': 'application/json' }, undefined],
    ['a length of 0', { 'Content-Length': '0' }, undefined],
    [
      'an empty form, as curl -d ""',
      { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': '0' },
      '',
    ],
    ['no chunk', { 'Transfer-Encoding': 'chunked' }, '0\r\n\r\n'],
  ])('needs no body: %s is {}', async (_, sent, body = '') => {
    await using server = await httpServed({ silent: silent() })
    const started = await server.http().json('POST', '/runs', { actor: 'silent' })
    const headers = { Host: '127.0.0.1', Authorization: 'Bearer alice', Connection: 'close', ...sent }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const head = `POST /runs/${String(started.body['run'])}/cancel HTTP/1.1\r\n${lines.join('')}\r\n`
    const answer = await rawHttp(server.httpUrl, head + body)
    expect(answer).toMatch(/^HTTP\/1.1 200 /)
    expect(answer).toContain('"reason":"user"')
  })

  test('with a body needs its type', async () => {
    await using server = await httpServed({ silent: silent() })
    for (const type of [undefined, 'text/plain']) {
      const headers = { authorization: 'Bearer alice', ...(type !== undefined && { 'content-type': type }) }
      const body = Buffer.from('{}')
      const answer = await fetch(`${server.httpUrl}/runs/x/cancel`, { method: 'POST', headers, body })
      expect(answer.status).toBe(415)
    }
  })

  test('stops one tool call, whose run goes on', async () => {
    const slow = tool({
      description: 'never ends',
      input: z.object({}),
      run: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    })
    const calls = actor({
      async *stream(_: unknown, { tools }) {
        await tools({ slow }).call({ call: 'c1', name: 'slow', args: {} })
        yield 'after'
      },
    })
    await using server = await httpServed({ calls })
    const http = server.http()
    await using stream = await http.stream('POST', '/runs', { actor: 'calls' })
    const { run } = await stream.opened()
    await stream.until(() => stream.events.some(({ type }) => type === 'tool.call'), 'the call')
    const call = stream.events.find(({ type }) => type === 'tool.call') as { call: string } | undefined
    const { body } = await http.json('POST', `/runs/${run}/cancel`, { call: call?.call })
    expect(body).toMatchObject({ confirmed: true, outcome: 'cancelled', receipt: { by: 'client', settled: true } })
    expect(await stream.end()).toMatchObject({ outcome: 'done' })
    expect(stream.said).toBe('after')
    expect(await http.json('POST', `/runs/${run}/cancel`, { call: call?.call })).toMatchObject({ status: 404 })
  })
})

describe('GET /runs', () => {
  test('lists the runs of a principal, the newest first, page by page', async () => {
    await using server = await httpServed({ hello, silent: silent() })
    const http = server.http()
    const ids: unknown[] = []
    for (let n = 0; n < 5; n++)
      ids.unshift((await http.json('POST', '/runs', { actor: 'silent', meta: { n } })).body['run'])
    await server.http('bob').json('POST', '/runs', { actor: 'hello' })
    const first = await http.json('GET', '/runs?limit=2')
    expect(first.body).toMatchObject({ more: true, runs: [{ run: ids[0], meta: { n: 4 } }, { run: ids[1] }] })
    const rest = await http.json('GET', `/runs?before=${String(ids[1])}`)
    expect(rest.body).toMatchObject({ more: false, runs: [{ run: ids[2] }, { run: ids[3] }, { run: ids[4] }] })
    expect(await http.json('GET', '/runs?before=r_none')).toMatchObject({ status: 404 })
  })
})

describe('a run of another principal', () => {
  test('does not exist, whatever is asked of it', async () => {
    await using server = await httpServed({ silent: silent() })
    const { body } = await server.http().json('POST', '/runs', { actor: 'silent' })
    const run = String(body['run'])
    const bob = server.http('bob')
    const asked: [string, string, unknown?][] = [
      ['GET', ''],
      ['GET', '/events'],
      ['POST', '/cancel', {}],
      ['POST', '/input', { type: 'message' }],
      ['POST', '/rate', { perSec: 1 }],
    ]
    for (const [method, path, sent] of asked) {
      const foreign = await bob.json(method, `/runs/${run}${path}`, sent)
      const missing = await bob.json(method, `/runs/r_${'A'.repeat(22)}${path}`, sent)
      expect(foreign).toMatchObject({ status: 404, body: { code: 'not_found' } })
      expect(foreign.body).toEqual(missing.body)
    }
    expect(await bob.json('POST', '/tickets', { run })).toMatchObject({ status: 404 })
  })

  test('can be watched with the right to observe, and not paced, stopped or spoken to', async () => {
    await using server = await httpServed({ count: counter(), silent: silent() })
    const { body } = await server.http().json('POST', '/runs', { actor: 'silent' })
    const run = String(body['run'])
    const eve = server.http('eve')
    await using stream = await eve.stream('GET', `/runs/${run}/events`)
    await stream.opened()
    expect((await eve.json('GET', `/runs/${run}/events?policy=pace`)).body).toMatchObject({ code: 'forbidden' })
    expect((await eve.json('GET', `/runs/${run}/events?disconnect=cancel`)).body).toMatchObject({ code: 'forbidden' })
    expect((await eve.json('POST', `/runs/${run}/cancel`)).body).toMatchObject({ code: 'forbidden', status: 403 })
    expect((await eve.json('POST', `/runs/${run}/input`, { type: 'message' })).body).toMatchObject({
      code: 'forbidden',
    })
    await server.http().json('POST', `/runs/${run}/cancel`)
    expect(await stream.end()).toMatchObject({ outcome: 'cancelled' })
  })
})

/** A list in a list in a list. */
function nested(depth: number): unknown {
  let value: unknown = 1
  for (let n = 0; n < depth; n++) value = [value]
  return value
}
