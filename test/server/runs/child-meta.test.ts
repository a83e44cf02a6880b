import { expect, test } from 'vitest'
import { type Actor, type ActorContext, actor } from '../../../server/actors/actor.ts'
import { testServer } from '../../helpers/server.ts'

/** Answers with the `meta` that it sees. */
const meta = actor({ ask: (_, { run }: ActorContext) => Promise.resolve(run.meta ?? null) })

/** Starts a parent with `meta: { user: 'alice' }`, and gives what its child answers. */
async function childSees(spawned: object): Promise<{ result?: unknown; code?: unknown }> {
  const parent: Actor = actor({ ask: (_, { spawn }) => spawn(meta, null, spawned).result })
  await using server = await testServer({ parent })
  await using client = await server.client()
  client.start(1, 'parent', null, { ask: true, meta: { user: 'alice' } })
  return (await client.next('end', 1)).data
}

test('a child has the meta of its parent', async () => {
  expect(await childSees({})).toMatchObject({ result: { user: 'alice' } })
  expect(await childSees({ meta: undefined })).toMatchObject({ result: { user: 'alice' } })
})

test('a child that is given a meta has that one, as a copy, and hands it on to its own children', async () => {
  const given = { trace: 'abc' }
  expect(await childSees({ meta: given })).toMatchObject({ result: { trace: 'abc' } })
  expect(await childSees({ meta: {} })).toMatchObject({ result: {} })

  const between = actor({ ask: (_, { spawn }) => spawn(meta, null).result })
  const top: Actor = actor({
    ask(_, { spawn }) {
      const { result } = spawn(between, null, { meta: given })
      given.trace = 'changed later'
      return result
    },
  })
  await using server = await testServer({ top })
  await using client = await server.client()
  client.start(1, 'top', null, { ask: true })
  expect((await client.next('end', 1)).data).toMatchObject({ result: { trace: 'abc' } })
})

test.each([[[1]], ['text'], [5], [null], [{ text: 'x'.repeat(1_024) }]])(
  'a meta that no START could carry is refused: %j',
  async (wrong) => {
    expect(await childSees({ meta: wrong })).toMatchObject({ code: 'bad_request' })
  },
)
