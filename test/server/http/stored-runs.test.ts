import { expect, test } from 'vitest'
import { nodeRuntime } from '../../../server/runtime.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { FailingStore } from '../../helpers/failing-store.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { counted, counter } from '../../helpers/test-actors.ts'

test('a run of a server that is gone is read over HTTP from its store, behind any event', async () => {
  const store = memoryStore()
  let run = ''
  let id = ''
  {
    await using before = await httpServed({ count: counter() }, { store })
    await using stream = await before.http().stream('POST', '/runs', { actor: 'count', input: 20, key: 'k' })
    await stream.end()
    run = (await stream.opened()).run
    id = stream.events[6]!.id
  }
  const count = counter()
  await using server = await httpServed({ count }, { store })
  const http = server.http()
  await using rest = await http.stream('GET', `/runs/${run}/events`, undefined, { 'last-event-id': id })
  expect(await rest.end()).toMatchObject({ outcome: 'done' })
  expect(rest.said).toBe(counted(8, 20))
  const { body } = await http.json('GET', `/runs/${run}`)
  expect(body).toMatchObject({ run, actor: 'count', state: 'ended', outcome: 'done', end: { outcome: 'done' } })
  const again = await http.json('POST', '/runs', { actor: 'count', input: 20, key: 'k' })
  expect(again.body).toMatchObject({ run, reused: true })
  expect(count.runs).toHaveLength(0)
  expect((await server.http('bob').json('GET', `/runs/${run}`)).status).toBe(404)
})

test('the list over HTTP is read from the store page by page, with the runs of earlier processes', async () => {
  const store = memoryStore()
  const runs: string[] = []
  for (const _ of [1, 2]) {
    await using server = await httpServed({ count: counter() }, { store })
    for (let n = 0; n < 3; n++) {
      await using stream = await server.http().stream('POST', '/runs', { actor: 'count', input: n })
      await stream.end()
      runs.unshift((await stream.opened()).run)
    }
    await server.http('bob').json('POST', '/runs', { actor: 'count', input: 1 })
  }
  const asked: number[] = []
  const { list } = store
  store.list = (principal, before, most) => {
    asked.push(most)
    return list.call(store, principal, before, most)
  }
  await using server = await httpServed({ count: counter() }, { store })
  const http = server.http()
  const { body } = await http.json('POST', '/runs', { actor: 'count', input: 1 })
  runs.unshift(String(body['run']))
  const found: { run: string; startedAt: number }[] = []
  for (let more = true; more; ) {
    const before = found.length > 0 ? `&before=${found.at(-1)!.run}` : ''
    const page = await http.json('GET', `/runs?limit=2${before}`)
    expect(page.status).toBe(200)
    found.push(...(page.body['runs'] as typeof found))
    more = page.body['more'] as boolean
  }
  expect(found.map(({ run }) => run).sort()).toEqual([...runs].sort())
  expect(found.map(({ startedAt }) => startedAt)).toEqual(found.map((one) => one.startedAt).sort((a, b) => b - a))
  expect(asked).toEqual([3, 3, 3, 3])
  expect(await server.http('bob').json('GET', `/runs?before=${runs[3]!}`)).toMatchObject({ status: 404 })
})

test('a list over HTTP is refused, and not cut short, while the store cannot be read', async () => {
  const store = new FailingStore(memoryStore(), nodeRuntime)
  await using server = await httpServed({ count: counter() }, { store })
  const http = server.http()
  expect(await http.json('GET', '/runs')).toMatchObject({ status: 200, body: { runs: [], more: false } })
  store.faults.failBefore = 1
  expect(await http.json('GET', '/runs')).toMatchObject({ status: 503, body: { code: 'store_unavailable' } })
  store.faults.failBefore = 0
})
