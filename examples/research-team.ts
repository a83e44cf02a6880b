// Two members search at the same time, one of them is cancelled, and a third one writes. Then the same by its budget.

import { createClient } from 'millrace/client'
import { agent, bearer, createServer, demo, researchTeam } from 'millrace/server'

// With OPENAI_API_KEY a real model answers.
const model = process.env.OPENAI_API_KEY
  ? (await import('millrace/models/openai')).openai('gpt-5-mini')
  : demo({ tokensPerSec: 200 })
const web = agent({ model, instructions: 'Search the web.' })
const books = agent({ model, instructions: 'Search the library.' })
const writer = agent({ model, instructions: 'Write one answer of what was found.' })

const actors = {
  research: researchTeam({ members: { web, books, writer }, writer: 'writer' }),
  frugal: researchTeam({ members: { web, books, writer }, writer: 'writer', budget: { tokens: 60 } }),
}
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'a-long-secret' })

const run = client.start('research', 'How do mills work?')
const names = new Map<string, string>()
for await (const event of run) {
  if (event.type === 'agent.start' && event.agent !== undefined) {
    names.set(event.agent, event.name)
    // The other members go on.
    if (event.name === 'research/books')
      void run.cancel({ agent: event.agent }).then(({ confirmed }) => console.log('books is cancelled:', confirmed))
  }
  if (event.type === 'step' && event.status !== 'start') console.log(`step ${event.id}: ${event.status}`)
  if (event.type === 'agent.end') console.log(`${names.get(event.agent ?? '')} has ended: ${event.outcome}`)
}
console.log('answer:', (await run.result).slice(0, 60))

const frugal = client.start('frugal', 'How do mills work?')
const { error } = await frugal.end
console.log('budget:', error?.code)

await client.close()
await server.close()
