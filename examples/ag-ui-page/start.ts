// A page with the agent of AG-UI as it is: `npx tsx examples/ag-ui-page/start.ts`. CopilotKit and assistant-ui take the same.
import { agent, bearer, createServer, demo, tool } from 'millrace/server'
import { z } from 'zod'
import { servePage } from '../serve-page.ts'

const weather = tool({
  description: 'The weather in a city now',
  input: z.object({ city: z.string() }),
  run: ({ city }) => `${city.length + 3} degrees and rain`,
})

const server = createServer({
  actors: { assistant: agent({ model: demo({ tokensPerSec: 15 }), tools: { weather } }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
})
await servePage(server, new URL('.', import.meta.url))
