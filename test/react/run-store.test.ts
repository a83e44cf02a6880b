import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../client-sdk/node.ts'
import { EVENT } from '../../protocol/events.ts'
import { actor, agent, demo, tool } from '../../server/index.ts'
import { mixedActor, mixedEvents } from '../helpers/mixed-run.ts'
import { done, event, gap, opened, ScriptedServer, text } from '../helpers/scripted-server.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { ShownComponent } from '../helpers/shown-runs.ts'
import { counted, counter, latch, silent } from '../helpers/test-actors.ts'

const payment = tool({
  description: 'Makes a payment',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid ${to}`,
})

const transferred = latch()
const transfer = tool({
  description: 'Makes a transfer',
  needsApproval: true,
  run: () => transferred.opened,
})

/** A server with a client of its own, whose components are unmounted at the end. */
async function served() {
  const count = counter()
  const server = await testServer({
    count,
    silent: silent(),
    mixed: mixedActor(),
    fails: actor({
      async *stream() {
        yield 'so far'
        throw new Error('no')
      },
    }),
    assistant: agent({ model: demo({ tokensPerSec: Number.POSITIVE_INFINITY }), tools: { payment, transfer } }),
  })
  const client = createClient(server.url, { token: 'alice' })
  return {
    server,
    count,
    client,
    async [Symbol.asyncDispose]() {
      await client.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

test('a run is shown frame by frame, and its end with all that it has said', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count')
  expect(page.now).toMatchObject({ status: 'idle', isLive: false, text: '', parts: [], result: undefined })
  page.now.start(100)
  expect(page.now).toMatchObject({ status: 'opening', isLive: true, id: undefined })
  await page.ended()
  expect(page.now).toMatchObject({
    status: 'done',
    text: counted(1, 100),
    parts: [{ type: 'text', text: counted(1, 100) }],
    result: counted(1, 100),
    end: { outcome: 'done', seq: 101 },
    seq: 100,
  })
  // What was shown before has not changed, and each state goes on from the one before.
  const texts = page.shown.map((state) => state.text)
  for (const [at, shown] of texts.entries()) expect(shown.startsWith(texts[at - 1] ?? '')).toBe(true)
  expect(page.shown.every((state) => Object.isFrozen(state) && state.start === page.now.start)).toBe(true)
})

test('a page that draws nothing stops the actor, within the credit and the read-ahead, and loses nothing', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { credit: 16 })
  page.now.start(500)
  // It says that it waits by not going on while others do.
  await eventually(() => (all.count.runs[0]?.count ?? 0) >= 16, 'the actor has used the credit')
  for (let round = 0; round < 20; round++) await all.client.ask('count', 10)
  expect(all.count.runs[0]!.count).toBeLessThanOrEqual(1 + 16 + 32 + 1)
  expect(page.now.text.length).toBeLessThanOrEqual(2)
  await page.ended()
  expect(page.now.text).toBe(counted(1, 500))
})

test('a page reads a few windows of credit at most for each frame, however much time is between them', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { credit: 8 })
  page.now.start(200)
  let before = 0
  while (page.now.status !== 'done') {
    await page.frames.draw()
    // Time for all that may come before the next frame.
    await all.client.ask('count', 1)
    expect(page.now.seq - before).toBeLessThanOrEqual(4 * 8)
    before = page.now.seq
  }
  expect(page.now.text).toBe(counted(1, 200))
})

test('unmounting detaches, and the component that comes back reads on where it was, cut at every 7th event', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'mixed', { credit: 5 })
  page.now.start({ rounds: 4 })
  let cuts = 0
  while (page.now.isLive) {
    await page.frames.draw()
    if (page.now.seq < 7 * (cuts + 1)) continue
    cuts++
    await page.unmount()
    expect(page.frames.waiting).toBe(0)
    await eventually(() => all.server.server.liveRuns === 1, 'the run goes on')
    page.mount()
  }
  expect(cuts).toBeGreaterThan(5)
  const whole = [...mixedEvents(4)]
  const texts = whole.filter((one) => one.type === 'token').map((one) => ('agent' in one ? '' : one.text))
  expect(page.now.text).toBe(texts.join(''))
  const others = whole.filter((one) => !['token', 'thinking', 'tool.args'].includes(one.type))
  expect(page.now.events.map(({ seq: _, at: __, ...one }) => one)).toEqual(others)
  expect(page.now.status).toBe('done')
})

test('a component that is mounted, unmounted and mounted again at once starts its run once, and stays attached', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { input: 300 })
  void page.unmount()
  page.mount()
  await page.ended()
  await page.unmount()
  page.mount()
  await page.frames.draw()
  expect(all.count.runs).toHaveLength(1)
  expect(page.now.text).toBe(counted(1, 300))
})

test('a component that is unmounted before its run has an id finds that run again', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { input: 300 })
  await page.unmount()
  page.mount()
  await page.ended()
  expect(page.now.text).toBe(counted(1, 300))
  expect(all.count.runs).toHaveLength(1)
})

test('stop cancels and gives the receipt, also of a run that the component has left, and of none it says so', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'silent')
  expect(await page.now.stop()).toEqual({ confirmed: false, code: 'not_found' })
  page.now.start(null)
  await page.until(({ status }) => status === 'running', 'it runs')
  const stopped = page.now.stop({ note: 'enough' })
  expect(page.now).toMatchObject({ status: 'stopping', isLive: true })
  expect(await stopped).toMatchObject({ confirmed: true, outcome: 'cancelled', note: 'enough' })
  await page.ended()
  expect(page.now).toMatchObject({ status: 'cancelled', receipt: { settled: true, note: 'enough' }, error: undefined })

  page.now.start(null)
  await page.until(({ status }) => status === 'running', 'it runs')
  await page.unmount()
  expect(await page.now.stop()).toMatchObject({ confirmed: true, outcome: 'cancelled' })
  expect(all.server.server.liveRuns).toBe(0)
})

test('another start takes the place of the run before, which is cancelled as superseded', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { credit: 4 })
  page.now.start(1_000_000)
  await page.until(({ seq }) => seq > 10, 'some is read')
  page.now.start(20)
  expect(page.now).toMatchObject({ status: 'opening', text: '', parts: [], events: [] })
  await page.ended()
  expect(page.now.text).toBe(counted(1, 20))
  await eventually(() => all.count.runs[0]!.aborted, 'the first was cancelled')

  page.now.start(1_000_000)
  await page.unmount()
  page.now.start(10)
  page.mount()
  await page.ended()
  expect(page.now).toMatchObject({ status: 'done', text: counted(1, 10), receipt: undefined })
  await eventually(() => all.server.server.liveRuns === 0, 'the one that was left is cancelled too')
})

describe('what fails is the error of the state', () => {
  test('an actor that throws: its text is kept', async () => {
    await using all = await served()
    const page = new ShownComponent(all.client, 'fails', { input: null })
    await page.ended()
    expect(page.now).toMatchObject({
      status: 'error',
      text: 'so far',
      error: { code: 'actor_failed' },
      result: undefined,
    })
  })

  test('an input that cannot travel, and an actor that does not exist', async () => {
    await using all = await served()
    const page = new ShownComponent(all.client, 'count')
    page.now.start(() => 1)
    expect(page.now).toMatchObject({ status: 'error', error: { code: 'bad_request' } })
    const other = new ShownComponent(all.client, 'nobody', { input: 1 })
    await other.ended()
    expect(other.now).toMatchObject({ status: 'error', error: { code: 'not_found' } })
    await expect(other.now.send('message', 'x')).rejects.toMatchObject({ code: 'not_found' })
  })

  test('a run that the server does not know is lost, because nobody knows how it ended', async () => {
    await using all = await served()
    const page = new ShownComponent(all.client, 'count', { id: 'r_unknown' })
    await page.ended()
    expect(page.now).toMatchObject({ status: 'lost', error: { code: 'not_found' } })
  })
})

test('onEvent gets every event, texts included', async () => {
  await using all = await served()
  const seen: string[] = []
  const page = new ShownComponent(all.client, 'count', { input: 3, onEvent: (one) => void seen.push(one.type) })
  await page.ended()
  expect([page.now.text, seen]).toEqual(['1 2 3 ', ['token', 'token', 'token']])
})

test('a run that was lost with its connection is read on when there is one again', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { credit: 8 })
  page.now.start(200)
  await page.until(({ seq }) => seq > 20, 'some is read')
  await all.client.close({ runs: 'detach' })
  await page.ended()
  expect(page.now).toMatchObject({ status: 'lost', error: { message: expect.stringContaining('attach again') } })
  all.client.connect()
  await page.until(({ status }) => status === 'done', 'it is read to its end')
  expect(page.now.text).toBe(counted(1, 200))
})

describe('with follow', () => {
  test('a page that was loaded again shows the run from its beginning, and a third one too when all is over', async () => {
    await using all = await served()
    const follow = { chat: 'c1' }
    const page = new ShownComponent(all.client, 'count', { follow, credit: 8 })
    expect(page.now.status).toBe('finding')
    await page.until(({ status }) => status === 'idle', 'there is none')
    page.now.start(200, { meta: { title: 'counting' } })
    await page.until(({ seq }) => seq > 50, 'some is read')
    await page.unmount()

    const again = new ShownComponent(all.client, 'count', { follow })
    const other = new ShownComponent(all.client, 'count', { follow: { chat: 'c2' }, input: 5 })
    await Promise.all([again.ended(), other.ended()])
    const third = new ShownComponent(all.client, 'count', { follow })
    await third.ended()
    for (const shown of [again, third])
      expect(shown.now).toMatchObject({
        text: counted(1, 200),
        status: 'done',
        meta: { chat: 'c1', title: 'counting' },
      })
    expect(other.now.text).toBe(counted(1, 5))
    expect(all.count.runs).toHaveLength(2)
  })

  test('a second page shows what begins in the first, and what begins there next', async () => {
    await using all = await served()
    const client = createClient(all.server.url, { token: 'alice' })
    const [one, two] = [all.client, client].map((each) => new ShownComponent(each, 'count', { follow: { chat: 1 } }))
    await Promise.all([one!, two!].map((page) => page.until(({ status }) => status === 'idle', 'there is none')))
    one!.now.start(50)
    await Promise.all([one!.ended(), two!.ended()])
    expect([one!.now.text, two!.now.text]).toEqual([counted(1, 50), counted(1, 50)])
    expect(two!.now.id).toBe(one!.now.id)
    two!.now.start(60)
    await Promise.all(
      [one!, two!].map((page) => page.until(({ text }) => text === counted(1, 60), 'the next is there')),
    )
    expect(two!.now.id).toBe(one!.now.id)
    expect(all.count.runs).toHaveLength(2)
    await client.close()
  })

  test('an input starts a run only if none is found', async () => {
    await using all = await served()
    const options = { follow: { report: 7 }, input: 30 }
    const page = new ShownComponent(all.client, 'count', options)
    await page.ended()
    const again = new ShownComponent(all.client, 'count', options)
    await again.ended()
    expect(again.now.id).toBe(page.now.id)
    expect(all.count.runs).toHaveLength(1)
  })
})

describe('an approval', () => {
  test('is shown with its call, and given by a button', async () => {
    await using all = await served()
    const page = new ShownComponent(all.client, 'assistant', { input: 'Make a payment to Alice.' })
    await page.until(({ requests }) => requests.length > 0, 'it asks')
    const { call } = page.now.requests[0]!
    expect(page.now.tools).toMatchObject([{ call, name: 'payment', state: 'waiting', args: { to: 'Alice' } }])
    await page.now.approve(call!, { ok: true, args: { to: 'Bob' } })
    expect(page.now.requests).toEqual([])
    await page.ended()
    expect(page.now.tools).toMatchObject([{ state: 'ok', output: 'paid Bob', args: { to: 'Bob' } }])
    await expect(page.now.approve(call!, true)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('that another page has given is no question any more', async () => {
    await using all = await served()
    const page = new ShownComponent(all.client, 'assistant', { input: 'Make a transfer.' })
    await page.until(({ requests }) => requests.length > 0, 'it asks')
    const { id, requests } = page.now
    const other = new ShownComponent(all.client, 'assistant', { id })
    await other.until((now) => now.requests.length > 0, 'it asks there too')
    await other.now.approve(requests[0]!.call!, true)
    await expect(page.now.approve(requests[0]!.call!, true)).rejects.toMatchObject({ code: 'not_found' })
    expect(page.now.requests).toEqual([])
    expect(page.now.tools).toMatchObject([{ state: 'running' }])
    transferred.open()
    await Promise.all([page.ended(), other.ended()])
    expect(page.now.tools).toMatchObject([{ state: 'ok' }])
  })

  test('is asked for once, also where the page leaves and comes back while it is open', async () => {
    await using all = await served()
    const asked: string[] = []
    const onRequest = ({ id }: { id: string }): void => void asked.push(id)
    const page = new ShownComponent(all.client, 'assistant', { input: 'Make a payment to Alice.', onRequest })
    await page.until(({ requests }) => requests.length > 0, 'it asks')
    await page.unmount()
    page.mount()
    const { call } = page.now.requests[0]!
    await page.until(() => page.now.requests.length === 1, 'it still asks')
    await page.now.approve(call!, true)
    await page.ended()
    expect(asked).toHaveLength(1)
  })
})

test('pause, throttle and resume hold the run back, also after the page has left and come back', async () => {
  await using all = await served()
  const page = new ShownComponent(all.client, 'count', { credit: 8 })
  page.now.start(100)
  await page.until(({ seq }) => seq > 5, 'some is read')
  page.now.pause()
  expect(page.now.isPaused).toBe(true)
  await page.unmount()
  page.mount()
  for (let round = 0; round < 20; round++) {
    await all.client.ask('count', 10)
    await page.frames.draw()
  }
  expect(all.count.runs[0]!.count).toBeLessThan(100)
  page.now.resume()
  expect(page.now.isPaused).toBe(false)
  await page.ended()
  expect(page.now.text).toBe(counted(1, 100))
})

test('a run that is set back is shown as its log is now, and never shorter than what still counts', async () => {
  const server = new ScriptedServer()
  const page = new ShownComponent(server.client(), 'chat', { input: 'hi' })
  server.socket.welcome()
  server.socket.say(
    opened(1),
    text(1, 1, ['a', 'b', 'c', 'void']),
    event(1, 5, EVENT.inputRequest, { request: 'q', kind: 'text' }),
  )
  await server.settle()
  await page.until(({ seq }) => seq === 5, 'all is read')
  const shown = page.shown.length
  server.socket.say(gap(1, 4, 4, { reason: 'rewound', gen: 2 }))
  await server.settle()
  await page.frames.draw()
  await server.settle()
  expect(server.socket.last('attach')).toMatchObject({ run: 'r_1', after: 0 })
  const { sid } = server.socket.last('attach') as { sid: number }
  server.socket.say(opened(sid, { gen: 2 }), text(sid, 1, ['a', 'b']))
  await server.settle()
  for (let frame = 0; frame < 5; frame++) await page.frames.draw()
  server.socket.say(text(sid, 3, ['c', 'd']), done(sid, 5))
  await server.settle()
  await page.ended()
  expect(page.now).toMatchObject({ text: 'abcd', status: 'done', requests: [], events: [] })
  for (const { text: each } of page.shown.slice(shown)) expect(each.startsWith('abc')).toBe(true)
})
