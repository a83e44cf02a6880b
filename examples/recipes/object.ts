import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, unstreamed } from 'millrace/server'
import { z } from 'zod'

// In place of `openai('gpt-5-mini')` or another model.
const model = unstreamed({
  id: 'weather',
  provider: 'example',
  complete: async () => ({ text: '{"city":"Oslo","celsius":21}' }),
})
const forecast = agent({ model, output: z.object({ city: z.string(), celsius: z.number() }) })
const actors = { forecast }
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>((await server.listen(0)).url)

const { city, celsius } = await client.start('forecast', 'Oslo').result
console.log(city, celsius)
await client.close()
await server.close()
