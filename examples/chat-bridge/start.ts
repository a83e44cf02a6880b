// A chat platform in front of an agent, with a fake platform and a person: `npx tsx examples/chat-bridge/start.ts`.
import { createClient } from 'millrace/client'
import { agent, bearer, createServer, demo } from 'millrace/server'
import { Bridge } from './bridge.ts'
import { FakePlatform } from './fake-platform.ts'

const EDIT_MS = 400

const actors = { chat: agent({ model: demo({ tokensPerSec: 60 }) }) }
export type Actors = typeof actors

const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'bridge' }) })
const { url } = await server.listen(0)
const platform = new FakePlatform(EDIT_MS)
const client = createClient<Actors>(url, { token: 'a-long-secret' })
const bridge = new Bridge({ client, platform: await platform.listen(), editMs: EDIT_MS + 20, typingMs: 1_000 })

/** Resolves when the platform was sent something new that holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}
const edits = (): number => platform.calls.filter(({ what }) => what === 'edit').length

const question = { id: '1', channel: 'general', text: 'Tell me about millrace' }
// A platform delivers at least once: the second one starts nothing.
await Promise.all([bridge.receive(question), bridge.receive(question)])

const before = edits()
const second = bridge.receive({ id: '2', channel: 'general', text: 'Tell me about stopping' })
await until(() => edits() > before)
await bridge.receive({ id: '3', channel: 'general', text: 'stop' })
await second

const [first] = platform.calls
for (const { atMs, what, text } of platform.calls)
  console.log(
    `${String(atMs - (first?.atMs ?? 0)).padStart(5)} ms  ${what.padEnd(7)} ${text.length} characters ${text.slice(-24)}`,
  )

await client.close()
await server.close()
platform.close()
