import { describe, expect, test } from 'vitest'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { counter, silent } from '../../helpers/test-actors.ts'

describe('limits', () => {
  test('starts and attaches are counted together, per principal, and refill with time', async () => {
    const runtime = handClock()
    const limits = { startsPerSec: 2, startBurst: 3, heartbeatMs: 1_000_000 }
    await using served = await testServer({ silent: silent() }, { runtime, limits })
    await using client = await served.client()
    await using tab = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    client.start(1, 'silent')
    const { run } = await client.next('opened', 1)
    client.attach(2, run, 0)
    await client.next('opened', 2)
    tab.attach(1, run, 0)
    await tab.next('opened', 1)
    client.start(3, 'silent')
    expect(await client.next('end', 3)).toMatchObject({
      seq: 0,
      outcome: 'error',
      data: { code: 'rate_limited', retryable: true, details: { afterMs: 500 } },
    })
    bob.start(1, 'silent')
    await bob.next('opened', 1)
    runtime.advance(500)
    client.start(4, 'silent')
    await client.next('opened', 4)
    client.start(5, 'silent')
    expect((await client.next('end', 5)).data).toMatchObject({ code: 'rate_limited' })
  })

  test('a connection has at most maxStreams streams, and room for another when one is over', async () => {
    await using served = await testServer({ silent: silent() }, { limits: { maxStreams: 2 } })
    await using client = await served.client()
    client.start(1, 'silent')
    client.start(2, 'silent')
    client.start(3, 'silent')
    expect(await client.next('end', 3)).toMatchObject({
      seq: 0,
      data: { code: 'too_many_streams', retryable: true },
    })
    client.send({ kind: 'detach', sid: 1 })
    client.start(4, 'silent')
    await client.next('opened', 4)
    await using other = await served.client()
    other.start(1, 'silent')
    await other.next('opened')
  })

  test('a principal has at most maxRuns live runs', async () => {
    await using served = await testServer({ silent: silent() }, { limits: { maxRuns: 2 } })
    await using client = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    client.start(1, 'silent')
    client.start(2, 'silent')
    client.start(3, 'silent')
    expect(await client.next('end', 3)).toMatchObject({ seq: 0, data: { code: 'overloaded', retryable: true } })
    bob.start(1, 'silent')
    await bob.next('opened')
    client.send({ kind: 'cancel', sid: 1 })
    await client.next('end', 1)
    client.start(4, 'silent')
    await client.next('opened', 4)
  })

  test('a principal has at most maxConnections connections, and one that takes over counts once', async () => {
    await using served = await testServer({ silent: silent() }, { limits: { maxConnections: 2 } })
    await using one = await served.client()
    await using two = await served.client()
    await using three = await served.client({ hello: 'unanswered' })
    expect(await three.closed).toBe(4429)
    await using again = await served.client({ client: two.client, attempt: 2 })
    expect(await two.closed).toBe(4409)
    await using bob = await served.client({ auth: 'bob' })
    await one.settle()
    await again.settle()
    await bob.settle()
  })

  test('a connection that sends too many messages is closed, and its client may connect again later', async () => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime, limits: { messagesPerSec: 20 } })
    await using client = await served.client()
    for (let n = 0; n < 19; n++) client.send({ kind: 'ping', nonce: n })
    await client.until(() => client.frames.some((frame) => frame.kind === 'pong' && frame.nonce === 18))
    client.send({ kind: 'ping', nonce: 99 })
    expect(await client.closed).toBe(4429)
  })

  test('a client that reads fast may grant credit as often as it reads an item', async () => {
    const runtime = handClock()
    await using served = await testServer({ count: counter() }, { runtime, limits: { messagesPerSec: 20 } })
    await using client = await served.client()
    client.start(1, 'count', 500, { credit: 1 })
    await client.next('opened', 1)
    for (let n = 1; n <= 500; n++) {
      await client.next('delta', 1)
      client.send({ kind: 'credit', sid: 1, n: 1 })
    }
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    // What was earned is spent. It does not become a right to flood the server.
    for (let n = 0; n < 25; n++) client.send({ kind: 'ping', nonce: n })
    expect(await client.closed).toBe(4429)
  })

  test('an unknown actor is refused, and the client does not learn the names of the known ones', async () => {
    await using served = await testServer({ silent: silent(), count: counter() })
    await using client = await served.client()
    for (const [i, name] of ['nobody', '', 'constructor', '__proto__', 'toString'].entries()) {
      client.start(i + 1, name)
      const end = await client.next('end', i + 1)
      expect(end).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'not_found' } })
      expect(JSON.stringify(end)).not.toMatch(/silent|count/)
    }
  })

  test('text, an empty message and an unknown tag are faults; a tag that may be skipped is skipped', async () => {
    await using served = await testServer({ silent: silent() })
    await using bystander = await served.client()
    for (const bytes of ['text', new Uint8Array(0), new Uint8Array([0x91, 0x5f]), new Uint8Array([0xc1])]) {
      await using client = await served.client()
      client.sendRaw(bytes)
      expect(await client.closed).toBe(4400)
    }
    await using client = await served.client()
    client.sendRaw(new Uint8Array([0x92, 0x60, 0x01, 0x91, 0x7f]))
    await client.settle()
    await bystander.settle()
  })
})
