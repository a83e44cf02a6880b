import { createClient } from 'millrace/client'
import type { Actors } from './server.ts'

const client = createClient<Actors>(process.env.URL ?? 'ws://127.0.0.1:7400', { token: 'a-long-secret' })
const run = client.start('chat', 'Tell me about millrace')
process.once('SIGINT', () => void run.cancel().then((receipt) => console.log('\nstopped', receipt)))
for await (const text of run.text()) process.stdout.write(text)
await client.close()
