import { expect, test } from 'vitest'
import type { Client, StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/index.ts'
import { readAll } from '../helpers/read-all.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { latch } from '../helpers/test-actors.ts'

/** Answers each input with its text, until the input is `enough`. */
const echo = actor({
  interactive: true,
  async *stream(_: unknown, { inputs }) {
    for await (const { data } of inputs) {
      if (data === 'enough') return
      yield String(data)
    }
  },
})

function counting() {
  const half = latch()
  const count = actor({
    async *stream() {
      for (let n = 1; n <= 10; n++) {
        yield `${n} `
        if (n === 5) await half.opened
      }
    },
  })
  return { half, count }
}

type Echo = { echo: typeof echo }

function clientOf(url: string, token: string): Client<Echo> {
  return createClient<Echo>(url, { token, delays: { quickMs: 2 } })
}

async function texts(events: AsyncIterable<StreamEvent>): Promise<string[]> {
  return (await readAll(events)).flatMap((event) => (event.type === 'token' ? [event.text] : []))
}

test('a run is cancelled from a second connection of the same person, and its starter learns who did it', async () => {
  await using server = await testServer({ echo })
  const [first, second] = [clientOf(server.url, 'alice'), clientOf(server.url, 'alice')]
  const run = first.start('echo', null)
  const { id } = await run.opened
  const reading = texts(run)
  const view = second.attach('echo', id)
  expect(await view.cancel({ note: 'from the other tab' })).toMatchObject({
    outcome: 'cancelled',
    settled: true,
    by: 'client',
    note: 'from the other tab',
  })
  await expect(reading).rejects.toMatchObject({ code: 'cancelled', receipt: { note: 'from the other tab' } })
  await Promise.all([first.close(), second.close()])
})

test('a run takes input from a second connection of the same person, each once and in order', async () => {
  await using server = await testServer({ echo })
  const [first, second] = [clientOf(server.url, 'alice'), clientOf(server.url, 'alice')]
  const run = first.start('echo', null)
  const { id } = await run.opened
  const reading = texts(run)
  const view = second.attach('echo', id)
  expect(await run.send('message', 'a ')).toBe('accepted')
  expect(await view.send('message', 'b ')).toBe('accepted')
  expect(await run.send('message', 'c ')).toBe('accepted')
  expect(await view.send('message', 'enough')).toBe('accepted')
  expect(await reading).toEqual(['a ', 'b ', 'c '])
  expect(await texts(view)).toEqual(['a ', 'b ', 'c '])
  await Promise.all([first.close(), second.close()])
})

test('an observer sees a run of another person, may neither stop nor steer nor pace it, and leaves it alone', async () => {
  await using server = await testServer({ echo })
  const [alice, eve] = [clientOf(server.url, 'alice'), clientOf(server.url, 'eve')]
  const run = alice.start('echo', null)
  const { id } = await run.opened
  const reading = texts(run)
  const view = eve.attach('echo', id)
  await expect(view.send('message', 'no ')).rejects.toMatchObject({ code: 'forbidden' })
  expect(await view.cancel()).toEqual({ confirmed: false, code: 'forbidden' })
  await expect(texts(eve.attach('echo', id, { policy: 'pace' }))).rejects.toMatchObject({ code: 'forbidden' })

  const watching = texts(eve.attach('echo', id))
  await run.send('message', 'yes ')
  for await (const event of eve.attach('echo', id)) {
    expect(event).toMatchObject({ text: 'yes ' })
    break
  }
  await run.send('message', 'enough')
  expect(await reading).toEqual(['yes '])
  expect(await watching).toEqual(['yes '])
  await Promise.all([alice.close(), eve.close()])
})

test('a person without the right to observe gets the same answer for a run as for none', async () => {
  await using server = await testServer({ echo })
  const [alice, bob] = [clientOf(server.url, 'alice'), clientOf(server.url, 'bob')]
  const { id } = await alice.start('echo', null).opened
  const errors = await Promise.all(
    [id, 'r_AAAAAAAAAAAAAAAAAAAAAA'].map(async (run) => bob.attach('echo', run).result.catch(String)),
  )
  expect(errors[0]).toContain('there is no such run')
  expect(errors[0]).toBe(errors[1])
  await Promise.all([alice.close(), bob.close()])
})

test('a late HELLO with a lower attempt changes nothing for the present connection', async () => {
  const { half, count } = counting()
  await using server = await testServer({ count })
  await using holder = await server.client({ attempt: 3 })
  holder.start(1, 'count')
  await holder.until(() => holder.count(1) === 5, 'the first half')
  for (const attempt of [1, 2, 3]) {
    await using late = await server.client({ client: holder.client, attempt, hello: 'unanswered' })
    expect(await late.closed).toBe(4409)
    expect(late.frames).toEqual([])
  }
  half.open()
  await holder.next('end', 1)
  expect(holder.text(1)).toBe('1 2 3 4 5 6 7 8 9 10 ')
  expect(server.server.connections).toBe(1)
})

test('a higher attempt takes over: the run goes on there, and the old connection sends no more', async () => {
  const { half, count } = counting()
  await using server = await testServer({ count })
  await using old = await server.client({ attempt: 1 })
  old.start(1, 'count')
  const { run } = await old.next('opened', 1)
  await old.until(() => old.count(1) === 5, 'the first half')
  await using next = await server.client({ client: old.client, attempt: 2 })
  expect(await old.closed).toBe(4409)
  next.attach(1, run, 5, { gen: 1 })
  await next.next('opened', 1)
  half.open()
  await next.next('end', 1)
  expect(next.items(1).map(({ seq }) => seq)).toEqual([6, 7, 8, 9, 10])
  await eventually(() => server.server.connections === 1, 'one connection is left')
})

test('two pages of one person start, watch and stop runs of each other without mixing anything up', async () => {
  await using server = await testServer({ echo })
  const pages = Array.from({ length: 3 }, () => clientOf(server.url, 'alice'))
  const runs = pages.map((page) => page.start('echo', null))
  const ids = await Promise.all(runs.map(async (run) => (await run.opened).id))
  const own = runs.map((run) => texts(run))
  const others = pages.flatMap((page) => ids.map((id) => page.attach('echo', id)))
  const watched = others.map((view) => texts(view))
  await Promise.all(runs.map((run, n) => run.send('message', `${n} `)))
  await Promise.all(others.slice(0, 3).map((view) => view.send('message', 'enough')))
  expect(await Promise.all(own)).toEqual([['0 '], ['1 '], ['2 ']])
  expect(await Promise.all(watched)).toEqual([0, 1, 2].flatMap(() => [['0 '], ['1 '], ['2 ']]))
  await Promise.all(pages.map((page) => page.close()))
})
