import { createClient, upload } from 'millrace/client'
import { agent, bearer, createServer, demo, uploads } from 'millrace/server'

const files = uploads({ types: ['text/csv', 'image/*'] })
const actors = {
  uploads: files,
  chat: agent({ model: demo({ tokensPerSec: Number.POSITIVE_INFINITY }), files: { uploads: files } }),
}
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice', another: 'bob' }) })
const { url } = await server.listen(0)
const alice = createClient<typeof actors>(url, { token: 'a-long-secret' })

// In a page: the File of an <input>. This one is larger than a message may be.
const report = new File(['Oslo,12\n'.repeat(100_000)], 'report.csv', { type: 'text/csv' })
let steps = 0
const made = await upload(alice, report, { onProgress: () => steps++ })
console.log(`uploaded ${made.size} bytes of ${made.mediaType} in more than ten steps: ${steps > 10}`)

const prompt = [
  { type: 'text', text: 'What is the average?' },
  { type: 'file', upload: made.upload },
] as const
for await (const text of alice.start('chat', { prompt }).text()) process.stdout.write(text)

// A reference is of no use to anybody else.
const bob = createClient<typeof actors>(url, { token: 'another' })
await bob.ask('chat', { prompt }).catch((error: unknown) => console.log(`\nbob: ${String(error)}`))

// A program that calls itself a picture.
const wrong = new File(['#!/bin/sh'], 'cat.png', { type: 'image/png' })
await upload(alice, wrong).catch((error: unknown) => console.log(`refused: ${String(error)}`))

await Promise.all([alice.close(), bob.close()])
await server.close()
