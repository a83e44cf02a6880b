import { agent, conversation, demo, tool } from 'millrace/server'
import { z } from 'zod'

const weather = tool({
  description: 'The weather in a city now',
  input: z.object({ city: z.string() }),
  run: ({ city }) => `${city.length + 3} degrees and rain`,
})
const mail = tool({
  description: 'Sends a mail',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  async *run({ to }) {
    yield 'connecting'
    return `sent to ${to}`
  },
})

export const actors = {
  // Any other model works the same: `openai(...)`, `anthropic(...)`, `ollama(...)`.
  chat: conversation({ agent: agent({ model: demo({ tokensPerSec: 30 }), tools: { weather, mail } }) }),
}
export type Actors = typeof actors
