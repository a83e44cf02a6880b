import { actor, agent, bearer, createServer, demo } from 'millrace/server'
import { z } from 'zod'

const actors = {
  chat: agent({ model: demo() }),
  count: actor({
    input: z.object({ to: z.int() }),
    async *stream({ to }) {
      for (let n = 1; n <= to; n++) yield `${n} `
    },
  }),
}
export type Actors = typeof actors

const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(Number(process.env.PORT ?? 7400))
console.log(`listening on ${url}`)
