import { createClient } from 'millrace/client'
import { actor, bearer, createServer } from 'millrace/server'
import { z } from 'zod'

const actors = {
  count: actor({
    input: z.int(),
    async *stream(to) {
      for (let n = 1; n <= to; n++) yield `${n} `
    },
  }),
}
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(0)
const user = createClient<typeof actors>(url, { token: 'a-long-secret' })
const board = createClient<typeof actors>(url, { token: 'a-long-secret' })

const run = user.start('count', 5_000)
const { id } = await run.opened
const view = board.attach('count', id, { policy: 'latest' }) // nobody reads it yet
let text = ''
for await (const piece of run.text()) text += piece
console.log('the user has read all:', text.endsWith(' 5000 '))
let seen = 0
for await (const event of view) if (event.type === 'token') seen++
console.log('the board has read the newest only:', seen < 5_000)
await Promise.all([user.close(), board.close()])
await server.close()
