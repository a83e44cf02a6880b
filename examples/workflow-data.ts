// A workflow that is data: a JSON file, and the actors that it may name.
import { readFileSync } from 'node:fs'
import { createClient } from 'millrace/client'
import { actionChunks, actor, agent, bearer, createServer, demo, workflowFromData } from 'millrace/server'
import { z } from 'zod'

const definition: unknown = JSON.parse(readFileSync(new URL('letters.workflow.json', import.meta.url), 'utf8'))

const writer = agent({ instructions: 'Write a letter.' })
const post = actor({ input: z.object({ to: z.string() }), ask: ({ to }) => `sent to ${to}` })

const actors = {
  letters: workflowFromData(definition, {
    actors: { writer, post },
    input: z.object({ subject: z.string(), to: z.array(z.string()) }),
  }),
}
const server = createServer({
  actors,
  authenticate: bearer({ 'a-long-secret': 'alice' }),
  defaultModel: demo({ tokensPerSec: 1_000 }),
})
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'a-long-secret' })

const run = client.start('letters', { subject: 'mills', to: ['Ada', 'Bob'] }, { onRequest: () => true })
// The chunks of earlier systems.
for await (const chunk of actionChunks(run)) if (chunk.type !== 'data') console.log(JSON.stringify(chunk).slice(0, 100))

try {
  workflowFromData({ steps: [{ type: 'actor', actorType: 'nobody' }] }, { actors: {} })
} catch (error) {
  console.log(String(error))
}

await client.close()
await server.close()
