import { agent, bearer, tool } from 'millrace/server'
import { z } from 'zod'

const dice = tool({
  description: 'Rolls a die.',
  input: z.object({ sides: z.int().default(6) }),
  run: ({ sides }) => `a ${1 + Math.floor(Math.random() * sides)}`,
})

export default {
  actors: { helper: agent({ tools: { dice } }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
  origins: ['http://localhost:5173'],
}
