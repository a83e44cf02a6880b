import { describe, expect, test } from 'vitest'
import { anonymous } from '../../../server/sessions/auth.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'

const SAME_ORIGIN = { 'sec-fetch-site': 'same-origin' }

describe('GET /actors/:actor/stream', () => {
  test('starts an actor with a ticket, and a reconnect with Last-Event-ID goes on with the same run', async () => {
    const count = counter()
    await using server = await httpServed({ count }, { http: { eventSource: ['count'] } })
    const { body, status } = await server.http().json('POST', '/tickets', { actor: 'count' })
    expect(status).toBe(201)
    const page = server.http(null)
    const path = `/actors/count/stream?input=40&ticket=${String(body['ticket'])}`
    let text = ''
    let id = ''
    const runs = new Set<string>()
    for (let isOver = false; !isOver; ) {
      const stream = await page.stream('GET', path, undefined, id === '' ? {} : { 'last-event-id': id })
      const opened = await stream.opened()
      runs.add(opened.run)
      id = opened.id
      await stream.until(() => stream.events.length >= 7 || stream.all.some(({ event }) => event === 'end'), 'events')
      const taken = stream.events.slice(0, 7)
      for (const event of taken) if (event.type === 'token') text += event.text
      id = taken.at(-1)?.id ?? id
      isOver = stream.events.length <= 7 && stream.all.some(({ event }) => event === 'end')
      if (isOver) id = stream.all.at(-1)?.id ?? ''
      await stream[Symbol.asyncDispose]()
    }
    expect(text).toBe(counted(1, 40))
    expect(runs.size).toBe(1)
    expect(count.runs).toHaveLength(1)
    const again = await page.request('GET', path, { headers: { 'last-event-id': id, accept: 'text/event-stream' } })
    expect(again.status).toBe(204)
    expect(count.runs).toHaveLength(1)
  })

  test('starts an actor for a page of the same origin, whose reconnect goes on with the same run', async () => {
    const count = counter()
    await using server = await httpServed({ count }, { http: { eventSource: ['count'] } })
    const http = server.http()
    const stream = await http.stream('GET', '/actors/count/stream?input=3', undefined, SAME_ORIGIN)
    await stream.end()
    const { id } = stream.events[0]!
    await using again = await http.stream('GET', '/actors/count/stream?input=3', undefined, {
      ...SAME_ORIGIN,
      'last-event-id': id,
    })
    await again.end()
    expect(again.said).toBe('2 3 ')
    expect(count.runs).toHaveLength(1)
  })

  test('takes a text and JSON as its input', async () => {
    await using server = await httpServed({ count: counter() }, { http: { eventSource: ['count'] } })
    await using stream = await server.http().stream('GET', '/actors/count/stream?input=%222%22')
    await stream.end()
    expect(stream.said).toBe('1 2 ')
  })

  test('starts nothing for a page of another site, which needs no credentials to make a browser send it', async () => {
    const count = counter()
    const options = { authenticate: anonymous(), http: { eventSource: ['count'] } }
    await using server = await httpServed({ count }, options)
    const page = server.http(null)
    for (const site of ['cross-site', 'same-site', 'none']) {
      const answer = await page.json('GET', '/actors/count/stream?input=3', undefined, { 'sec-fetch-site': site })
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
    expect(count.runs).toHaveLength(0)
  })

  test('starts only the actors that the application names', async () => {
    const count = counter()
    await using server = await httpServed({ count, silent: silent() }, { http: { eventSource: ['silent'] } })
    const answer = await server.http().json('GET', '/actors/count/stream?input=3', undefined, SAME_ORIGIN)
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(count.runs).toHaveLength(0)
  })

  test('never starts a second run for a Last-Event-ID that is not its own', async () => {
    const count = counter()
    await using server = await httpServed({ count }, { http: { eventSource: ['count'] } })
    for (const id of ['1-1', 'x', `1-1.r_${'A'.repeat(22)}`]) {
      const headers = { ...SAME_ORIGIN, 'last-event-id': id }
      const answer = await server.http().json('GET', '/actors/count/stream?input=3', undefined, headers)
      expect(answer.status).toBeGreaterThanOrEqual(400)
    }
    expect(count.runs).toHaveLength(0)
  })
})

describe('a ticket', () => {
  test('is good once: without an id of its own stream, nobody else reads with it', async () => {
    await using server = await httpServed({ count: counter() }, { http: { eventSource: ['count'] } })
    const http = server.http()
    const { body } = await http.json('POST', '/runs', { actor: 'count', input: 3 })
    const run = String(body['run'])
    const ticket = await http.json('POST', '/tickets', { run })
    const path = `/runs/${run}/events?ticket=${String(ticket.body['ticket'])}`
    const page = server.http(null)
    await using stream = await page.stream('GET', path)
    await stream.end()
    for (const id of ['', '1-0', '1-1', `1-1.${'A'.repeat(32)}`]) {
      const answer = await page.json('GET', path, undefined, id === '' ? {} : { 'last-event-id': id })
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    }
    await using again = await page.stream('GET', path, undefined, { 'last-event-id': stream.events[0]!.id })
    await again.end()
    expect(again.said).toBe('2 3 ')
  })

  test('is good for its run or its actor only, and for nothing else', async () => {
    await using server = await httpServed(
      { count: counter(), silent: silent() },
      { http: { eventSource: ['count', 'silent'] } },
    )
    const http = server.http()
    const run = String((await http.json('POST', '/runs', { actor: 'silent' })).body['run'])
    const other = String((await http.json('POST', '/runs', { actor: 'silent' })).body['run'])
    const ticket = String((await http.json('POST', '/tickets', { run })).body['ticket'])
    const page = server.http(null)
    for (const path of [`/runs/${other}/events`, '/actors/count/stream', '/runs', `/runs/${run}`])
      expect((await page.json('GET', `${path}?ticket=${ticket}`)).status).toBe(401)
    expect((await page.json('POST', `/runs/${run}/cancel?ticket=${ticket}`, {})).status).toBe(401)
    // It was not used up by that.
    await using stream = await page.stream('GET', `/runs/${run}/events?ticket=${ticket}`)
    await stream.opened()
  })

  test('is good for 60 s at most, and its stream for as long as the client may be away', async () => {
    const clock = handClock()
    await using server = await httpServed({ silent: silent() }, { runtime: clock, http: { eventSource: ['silent'] } })
    const http = server.http()
    expect((await http.json('POST', '/tickets', { actor: 'silent', ms: 60_001 })).status).toBe(400)
    const late = String((await http.json('POST', '/tickets', { actor: 'silent', ms: 1_000 })).body['ticket'])
    const early = String((await http.json('POST', '/tickets', { actor: 'silent' })).body['ticket'])
    clock.advance(1_001)
    const page = server.http(null)
    expect((await page.json('GET', `/actors/silent/stream?ticket=${late}`)).status).toBe(401)
    const stream = await page.stream('GET', `/actors/silent/stream?ticket=${early}`)
    const { id, run } = await stream.opened()
    clock.advance(70_000)
    stream.leave()
    await stream.over
    await using again = await page.stream('GET', `/actors/silent/stream?ticket=${early}`, undefined, {
      'last-event-id': id,
    })
    expect((await again.opened()).run).toBe(run)
  })

  test.each([
    ['neither', {}],
    ['both', { run: 'r', actor: 'silent' }],
  ])('for %s of a run and an actor is refused', async (_, body) => {
    await using server = await httpServed({ silent: silent() })
    expect(await server.http().json('POST', '/tickets', body)).toMatchObject({ status: 400 })
  })
})
