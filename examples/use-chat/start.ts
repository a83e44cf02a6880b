// A page with `useChat` of the AI SDK as it is: `npx tsx examples/use-chat/start.ts`. Only its `api` is that of millrace.
import react from '@vitejs/plugin-react'
import { agent, bearer, createServer, demo, tool } from 'millrace/server'
import { z } from 'zod'
import { servePage } from '../serve-page.ts'

const mail = tool({
  description: 'Sends a mail',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `sent to ${to}`,
})

// Every page of this example is the same user. See docs/authentication.md for real ones.
const server = createServer({
  actors: { assistant: agent({ model: demo({ tokensPerSec: 15 }), tools: { mail } }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
  http: true,
})
await servePage(server, new URL('.', import.meta.url), { plugins: [react()] })
