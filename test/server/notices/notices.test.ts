import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { type ActorContext, actor, agent, tool, type WebhookOptions, webhook } from '../../../server/index.ts'
import { prometheus } from '../../../server/metrics/prometheus.ts'
import { sqlite } from '../../../server/stores/sqlite/sqlite.ts'
import { CANARY, NoticeReceiver, SECRET } from '../../helpers/notice-receiver.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, type TestServer, testServer } from '../../helpers/server.ts'
import { temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { counter, silent } from '../../helpers/test-actors.ts'

const asks = actor({
  async *stream(_input: unknown, { request, checkpoint }: ActorContext) {
    checkpoint(() => ({}))
    yield String(await request({ kind: 'text', prompt: 'canary-prompt', expiresMs: 3_600_000 }))
  },
})
const breaks = actor({
  ask: () => {
    throw new Error('canary-error')
  },
})
const boss = actor({
  async *stream(_input: unknown, { spawn }: ActorContext) {
    yield* spawn(asks, undefined)
  },
})
const actors = { count: counter(), silent: silent(), asks, breaks, boss }

const hook = (receiver: NoticeReceiver, options: Partial<WebhookOptions> = {}) =>
  webhook({ url: receiver.url, secret: SECRET, allowAddresses: ['127.0.0.1'], ...options })

/** A client of a server, as alice. */
function clientOf(served: TestServer<typeof actors>) {
  const client = createClient<typeof actors>(served.url, { token: 'alice', ...served.reach })
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() })
}

describe('a server that notifies', () => {
  test('tells of the end of each run: done, failed or cancelled, and nothing that was said in it', async () => {
    await using receiver = await NoticeReceiver.start()
    await using served = await testServer(actors, { notify: hook(receiver), name: 'node 1' })
    await using client = clientOf(served)
    await client.start('count', 3, { meta: { canary: 'canary-meta' } }).result
    await receiver.count(1)
    await client.start('breaks', 'canary-input').result.catch(() => {})
    await receiver.count(2)
    const stopped = client.start('silent', 0)
    await stopped.opened
    await stopped.cancel({ note: 'canary-note' })
    const [done, failed, cancelled] = await receiver.count(3)
    expect(done!.notice).toEqual({
      version: 1,
      type: 'run.ended',
      timestamp: expect.stringMatching(/^20\d\d-.*Z$/) as string,
      server: 'node 1',
      data: {
        run: expect.stringMatching(/^r_/) as string,
        actor: 'count',
        principal: 'alice',
        startedAt: expect.stringMatching(/^20\d\d-.*Z$/) as string,
        outcome: 'done',
        ms: expect.any(Number) as number,
      },
    })
    expect(failed!.notice.data).toMatchObject({ actor: 'breaks', outcome: 'error', code: 'actor_failed' })
    expect(cancelled!.notice.data).toMatchObject({ actor: 'silent', outcome: 'cancelled', by: 'client' })
    for (const { body, request } of receiver.received) {
      expect(body).not.toContain('canary')
      expect(body.length).toBeLessThan(4_096)
      expect(request.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'millrace' })
    }
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(3)
  })

  test('tells that a run needs somebody, also when a child of it asks, and says whether anybody reads it', async () => {
    await using receiver = await NoticeReceiver.start()
    await using served = await testServer(actors, { notify: hook(receiver, { on: ['run.needs_you'] }) })
    await using client = await served.client()
    client.start(1, 'boss')
    const { run } = await client.next('opened', 1)
    const [asked] = await receiver.count(1)
    expect(asked!.notice).toMatchObject({
      type: 'run.needs_you',
      data: { run, actor: 'boss', principal: 'alice', kind: 'text', attended: true },
    })
    const { request, expiresAt } = asked!.notice.data as { request: string; expiresAt: string }
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + 3_000_000)
    expect(asked!.body).not.toContain('canary')
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request, value: 'this one' } })
    await client.next('end', 1)
  })

  test('tells that a tool call waits for an approval', async () => {
    await using receiver = await NoticeReceiver.start()
    const model = scriptedModel(calls({ call: 'c1', name: 'send', args: { to: 'canary' } }), says('sent'))
    const send = tool({ description: 'Sends.', needsApproval: true, run: () => 'ok' })
    const careful = agent({ model, tools: { send } })
    await using served = await testServer({ careful }, { notify: hook(receiver, { on: ['run.needs_you'] }) })
    const client = createClient<{ careful: typeof careful }>(served.url, { token: 'alice', ...served.reach })
    const run = client.start('careful', 'send it')
    const [asked] = await receiver.count(1)
    expect(asked!.notice.data).toMatchObject({ actor: 'careful', call: expect.any(String) as string, attended: true })
    expect(asked!.body).not.toContain('canary')
    await run.cancel()
    await client.close()
  })

  test('tells of a budget that was used up, in addition to the end', async () => {
    await using receiver = await NoticeReceiver.start()
    await using served = await testServer(actors, { notify: hook(receiver) })
    await using client = clientOf(served)
    const run = client.start('silent', 0)
    await run.send('govern', { budget: { ms: 1 } })
    await expect(run.result).rejects.toMatchObject({ code: 'budget_exceeded' })
    const told = (await receiver.count(2)).map(({ notice }) => notice)
    expect(told.map(({ type }) => type).sort()).toEqual(['run.budget', 'run.ended'])
    for (const { data } of told) expect(data).toMatchObject({ outcome: 'error', code: 'budget_exceeded' })
  })

  test('tells only what it was asked for: of these actors, and of this', async () => {
    await using receiver = await NoticeReceiver.start()
    const notify = hook(receiver, { actors: ['count'], on: ['run.ended'] })
    await using served = await testServer(actors, { notify })
    await using client = clientOf(served)
    await client.start('breaks', 0).result.catch(() => {})
    const waits = client.start('asks', 0)
    for await (const event of waits) if (event.type === 'request') void waits.cancel()
    await client.start('count', 1).result
    const [only] = await receiver.count(1)
    expect(only!.notice.data).toMatchObject({ actor: 'count' })
    await served.server.close({ drainMs: 0 })
    expect(receiver.received).toHaveLength(1)
  })

  test('tells of the runs that its shutdown interrupts', async () => {
    await using receiver = await NoticeReceiver.start()
    await using served = await testServer(actors, { notify: hook(receiver) })
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened', 1)
    await served.server.close({ drainMs: 0 })
    expect(receiver.received.map(({ notice }) => notice.data)).toMatchObject([{ code: 'interrupted' }])
  })
})

describe('a notice outlives', () => {
  test('the process that stored it: the next one sends it, under the same id', async () => {
    await using folder = await temporaryFolder()
    const store = () => sqlite({ path: `${folder.path}/millrace.db` })
    // The first request hangs.
    await using receiver = await NoticeReceiver.start((response, n) => n > 1 && response.writeHead(200).end())
    {
      await using first = await testServer(actors, { notify: hook(receiver), store: store() })
      await first.server.router.ask('count', 2)
      await receiver.count(1)
    }
    await using second = await testServer(actors, { notify: hook(receiver), store: store() })
    const [before, after] = await receiver.count(2)
    expect([after!.id, after!.body]).toEqual([before!.id, before!.body])
    await second.server.close({ drainMs: 0 })
    await using third = await testServer(actors, { notify: hook(receiver), store: store() })
    await third.server.router.ask('count', 2)
    expect((await receiver.count(3))[2]!.id).not.toBe(after!.id)
  })

  test('a process that dies in the middle of a run: whoever ends it tells', async () => {
    await using receiver = await NoticeReceiver.start()
    const { begin, stored } = onOneStore(actors)
    const first = await begin({ notify: hook(receiver) })
    await using client = await first.client()
    client.start(1, 'silent')
    const { run } = await client.next('opened', 1)
    await stored(run, () => true)
    first.kill()
    client.cut()
    await using _second = await begin({ notify: hook(receiver) })
    const [ended] = await receiver.count(1)
    expect(ended!.notice.data).toMatchObject({ run, outcome: 'error', code: 'interrupted', principal: 'alice' })
    await first[Symbol.asyncDispose]()
  })

  test('a process that dies between the end of a run and the POST', async () => {
    await using receiver = await NoticeReceiver.start()
    const { begin, stored, kept } = onOneStore(actors)
    // It has the notices, and cannot send them: its receiver is somewhere else.
    const nowhere = webhook({ url: 'http://127.0.0.1:9/', secret: SECRET, allowAddresses: ['127.0.0.1'] })
    const first = await begin({ notify: nowhere })
    const outbox = kept.outbox!
    const original = outbox.take.bind(outbox)
    outbox.take = () => new Promise(() => {})
    await using client = await first.client()
    client.start(1, 'count', 2)
    const { run } = await client.next('opened', 1)
    await stored(run, ({ end }) => end !== undefined)
    first.kill()
    client.cut()
    outbox.take = original
    await using _second = await begin({ notify: hook(receiver) })
    const [ended] = await receiver.count(1)
    expect(ended!.notice.data).toMatchObject({ run, outcome: 'done' })
    await first[Symbol.asyncDispose]()
  })

  test('a wait over a restart, without being told twice', async () => {
    await using receiver = await NoticeReceiver.start()
    const { begin, stored, kept } = onOneStore(actors)
    const first = await begin({ notify: hook(receiver) })
    await using client = await first.client()
    client.start(1, 'asks')
    const { run } = await client.next('opened', 1)
    await stored(run, ({ parked }) => parked !== undefined)
    const [asked] = await receiver.count(1)
    // A process that died before it could note this would have it sent again.
    while ((await kept.outbox!.trim(9)).left > 0) await new Promise((resolve) => setImmediate(resolve))
    first.kill()
    client.cut()
    await using second = await begin({ notify: hook(receiver) })
    await using after = await second.client()
    after.attach(1, run, 0)
    await after.next('opened', 1)
    const { request } = asked!.notice.data as { request: string }
    after.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request, value: 'this one' } })
    await after.next('end', 1)
    const types = (await receiver.count(2)).map(({ notice }) => notice.type)
    expect(types).toEqual(['run.needs_you', 'run.ended'])
    await first[Symbol.asyncDispose]()
  })
})

describe('what is left of a notice', () => {
  test('in logs and metrics: ids, codes and times, and neither secret nor path nor query', async () => {
    await using receiver = await NoticeReceiver.start((response, n) => response.writeHead(n === 1 ? 410 : 200).end())
    const records: unknown[] = []
    const note = (fields: object): void => void records.push(fields)
    const metrics = prometheus()
    const logger = { debug: note, info: note, warn: note, error: note }
    await using served = await testServer(actors, { notify: hook(receiver), logger, metrics })
    await served.server.router.ask('count', 1)
    await eventually(() => records.some((one) => (one as { event: string }).event === 'notice.dropped'), 'given up')
    await served.server.router.ask('count', 1)
    await eventually(() => records.some((one) => (one as { event: string }).event === 'notice.sent'), 'sent')
    const notices = records.filter((one) => (one as { event: string }).event.startsWith('notice.'))
    expect(notices).toMatchObject([
      { event: 'notice.failed', code: 'gone', type: 'run.ended', actor: 'count', attempt: 1 },
      { event: 'notice.dropped', code: 'gone', count: 1 },
      { event: 'notice.sent', type: 'run.ended', attempt: 1, host: `127.0.0.1:${receiver.port}` },
    ])
    const text = JSON.stringify(records) + (await metrics.text()).text
    for (const secret of [CANARY, 'whsec_', 'canary-path', 'canary-query']) expect(text).not.toContain(secret)
    const scrape = (await metrics.text()).text
    expect(scrape).toContain('millrace_notices_sent_total{type="run.ended"} 1')
    expect(scrape).toContain('millrace_notice_failures_total{code="gone"} 1')
    expect(scrape).toContain('millrace_notices_dropped_total{code="gone"} 1')
    expect(scrape).toContain('millrace_notice_seconds_count{type="run.ended"} 1')
    expect(scrape).toContain('millrace_notices_waiting 0')
  })
})

describe('wrong options are refused', () => {
  const valid = { url: 'https://hooks.example/', secret: SECRET }
  const wrong: [string, Record<string, unknown>, RegExp][] = [
    ['without a url', { ...valid, url: undefined }, /url must be/],
    ['with another scheme', { ...valid, url: 'ftp://hooks.example/' }, /url must be/],
    ['with a password', { ...valid, url: 'https://a:canary@hooks.example/' }, /no user name and no password/],
    ['with a short secret', { ...valid, secret: 'whsec_Y2FuYXJ5' }, /secret must be whsec_ .*openssl rand/],
    ['without a secret', { url: valid.url }, /secret must be/],
    ['with a private address', { ...valid, url: 'https://169.254.169.254/canary' }, /169.254.169.254 is not public/],
    ['with a disguised private address', { ...valid, url: 'https://0x7f.1/' }, /127.0.0.1 is not public/],
    ['with a mapped private address', { ...valid, url: 'https://[::ffff:10.0.0.1]/' }, /is not public/],
    ['with loopback', { ...valid, url: 'https://[::1]/' }, /::1 is not public/],
    ['with plain http', { ...valid, url: 'http://1.1.1.1/' }, /plain http goes nowhere else/],
    ['with an unknown type', { ...valid, on: ['ended'] }, /on must be a list of run.ended, run.needs_you, run.budget/],
    ['with no type', { ...valid, on: [] }, /on must be a list/],
    ['with an unknown option', { ...valid, secrets: [] }, /did you mean secret\?/],
    ['with no attempts', { ...valid, maxAttempts: 0 }, /maxAttempts must be a whole number, 1 to 100/],
    ['with a long attempt', { ...valid, timeoutMs: 1e9 }, /timeoutMs must be a whole number, 1 to 60000/],
  ]
  test.each(wrong)('%s', (_what, options, words) => {
    expect(() => webhook(options as WebhookOptions)).toThrow(words)
    expect(() => webhook(options as WebhookOptions)).not.toThrow(/canary|Y2FuYXJ5/)
  })

  test('for an actor that the server does not have, and for what is no receiver', async () => {
    const notify = webhook({ ...valid, actors: ['chat'] })
    await expect(testServer(actors, { notify })).rejects.toThrow(/unknown actor "chat"; known actors: count/)
    await expect(testServer(actors, { notify: {} as never })).rejects.toThrow(/notify must be a receiver of notices/)
  })
})
