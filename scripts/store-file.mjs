// Writes a file of stored runs with the built package: `node scripts/store-file.mjs test/compatibility/store-1.db`. A
// release that changes the tables adds such a file of its own, and keeps the ones before. `store.test.ts` there reads them.
import { existsSync } from 'node:fs'
import { sqlite } from '../dist/server/stores/sqlite/sqlite.js'

const [path] = process.argv.slice(2)
if (!path || existsSync(path)) {
  console.error('name a file that does not exist')
  process.exit(2)
}

const store = sqlite({ path, keepMs: Number.MAX_SAFE_INTEGER })
const bytes = (...values) => Uint8Array.from(values)
const batch = (first, last, more = {}) => ({
  ...{ gen: 1, first, last, at: 1_700_000_000_000 + first },
  ...{ index: bytes(first, last), bodies: bytes(1, 2, 3, first), ...more },
})
const facts = { actor: 'chat', principal: 'alice', startedAt: 1_700_000_000_000, packed: bytes(1, 2, 3) }

await store.open()
const ended = await store.begin('ended', { facts: { ...facts, meta: bytes(7) }, key: { name: 'k', input: 'a' } })
await ended.append({ batch: batch(1, 3), usage: bytes(5) })
await ended.append({ batch: batch(4, 6, { open: bytes(9) }), end: { seq: 7, outcome: 'done', packed: bytes(42) } })
const parked = await store.begin('parked', { facts })
await parked.append({ batch: batch(1, 2), parked: bytes(8) })
await parked.append({ inputs: [{ mid: 'm1', type: 'approve', packed: bytes(6) }] })
const live = await store.begin('live', { facts: { ...facts, principal: 'bob' } })
await live.append({ batch: batch(1, 1) })
await store.close()
