import { expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { anonymous, createServer, memory } from '../../../server/index.ts'
import { packPayload } from '../../../server/log/payload.ts'
import type { LogFields } from '../../../server/logging/logger.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import { mortal } from '../../helpers/mortal-store.ts'
import { quiet } from '../../helpers/server.ts'
import { latch, silent } from '../../helpers/test-actors.ts'

/** More than are taken over at once. */
const LEFT = 600

test('a server that is closed while it takes over what the last process left is closed, and the next one takes the rest', async () => {
  const kept = memoryStore()
  for (let n = 0; n < LEFT; n++) {
    const facts = { actor: 'silent', principal: 'alice', startedAt: n, packed: packPayload({}, DEFAULT_LIMITS) }
    await kept.begin(`r${n}`, { facts })
  }
  const [begun, release] = [latch(), latch()]
  const store = {
    ...mortal(kept),
    async takeOver(id: string) {
      begun.open()
      await release.opened
      return await kept.takeOver(id)
    },
  }
  const options = { actors: { silent: silent() }, authenticate: anonymous(), transport: memory(), logger: quiet }
  const server = createServer({ ...options, store })
  const listening = server.listen()
  await begun.opened
  const closed = server.close()
  release.open()
  await expect(listening).rejects.toMatchObject({ code: 'bad_request' })
  await closed
  expect((await kept.abandoned(LEFT)).length).toBeGreaterThan(LEFT / 4)
  const next = createServer({ ...options, store: kept, transport: memory() })
  await next.listen()
  expect(await kept.abandoned(LEFT)).toEqual([])
  await next.close()
})

test('a run that nobody holds is logged in words that are true whoever had it: this server before, or another one', async () => {
  const kept = memoryStore()
  const facts = { actor: 'silent', principal: 'alice', startedAt: 0, packed: packPayload({}, DEFAULT_LIMITS) }
  await kept.begin('r1', { facts })
  const said: unknown[] = []
  const logger = { ...quiet, warn: ({ run }: LogFields, message: string) => said.push([run, message]) }
  const options = { actors: { silent: silent() }, authenticate: anonymous(), transport: memory() }
  await using server = createServer({ ...options, store: mortal(kept), logger })
  await server.listen()
  expect(said).toEqual([['r1', 'a run that no process held any more ended as interrupted']])
})
