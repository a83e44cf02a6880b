import { createClient } from 'millrace/client'
import { agent, bearer, createServer, demo } from 'millrace/server'

const actors = { chat: agent({ model: demo({ tokensPerSec: 200 }) }) }
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(0)

const before = createClient<typeof actors>(url, { token: 'a-long-secret' })
const run = before.start('chat', 'Tell me about millrace', { meta: { chat: 7 } })
await run.opened
await before.close({ runs: 'detach' }) // the page is reloaded

const after = createClient<typeof actors>(url, { token: 'a-long-secret' })
const found = (await after.runs()).find(({ meta }) => (meta as { chat?: number } | undefined)?.chat === 7)
if (!found) throw new Error('the run is not there')
let text = ''
for await (const piece of after.attach('chat', found.id).text()) text += piece
console.log('the whole answer:', text === (await after.ask('chat', 'Tell me about millrace')))
await after.close()
await server.close()
