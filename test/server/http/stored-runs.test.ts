import { expect, test } from 'vitest'
import { memoryStore } from '../../../server/stores/memory-store.ts'
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
