// One run and five clients that know nothing of each other: `npx tsx examples/one-run.ts`. It needs curl, and no network.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Chat } from '@ai-sdk/react'
import { DefaultChatTransport, type UIMessage } from 'ai'
import { createClient, type RunEnd, type StreamEvent } from 'millrace/client'
import { agent, bearer, createServer, demo, tool } from 'millrace/server'
import OpenAI from 'openai'
import { z } from 'zod'

const token = 'a-long-secret'
const authorization = `Bearer ${token}`

const mail = tool({
  description: 'Sends a mail',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `sent to ${to}`,
})
const actors = { assistant: agent({ model: demo(), tools: { mail } }) }
const server = createServer({ actors, authenticate: bearer({ [token]: 'alice' }), http: true })
const { url, httpUrl = '' } = await server.listen(0)

const say = (client: string, text: string): void => console.log(`${client.padEnd(13)}  ${text}`)

// --- 1. A page with `useChat` of the AI SDK starts the run. `Chat` is what the hook shows.
const chat = new Chat<UIMessage>({
  id: 'chat-1',
  transport: new DefaultChatTransport({
    api: `${httpUrl}/ai-sdk/assistant`,
    headers: { authorization },
    body: { version: 7 },
  }),
})
say('useChat', 'asks: Send a mail to Ada.')
void chat.sendMessage({ text: 'Send a mail to Ada.' })
const native = createClient<typeof actors>(url, { token })
const idOf = async (): Promise<string | undefined> => (await native.runs())[0]?.id
await until(async () => (await idOf()) !== undefined)
const id = (await idOf()) ?? ''

// --- 2. `curl` watches it.
const curl = spawn('curl', ['-sN', '-H', `Authorization: ${authorization}`, `${httpUrl}/runs/${id}/events`])
curl.on('error', ({ message }) => say('curl -N', `cannot be started: ${message}`))
let answer = ''
const watched = (async () => {
  for await (const line of createInterface({ input: curl.stdout })) {
    if (!line.startsWith('data: ')) continue
    const data = JSON.parse(line.slice('data: '.length)) as StreamEvent | RunEnd | { run: string }
    if ('receipt' in data) say('curl -N', `end ${data.outcome}`)
    if (!('type' in data)) continue
    if (data.type === 'tool.call') say('curl -N', `tool.call ${data.name} ${JSON.stringify(data.args)}`)
    if (data.type === 'tool.result') say('curl -N', `tool.result ${String(data.output)}`)
    if (data.type === 'token' && answer === '') say('curl -N', `token "${data.text}" ...`)
    if (data.type === 'token') answer += data.text
  }
})()

// --- 3. The client of millrace steers it: the model gets this message in its next turn.
const run = native.attach('assistant', id)
for await (const event of run) {
  if (event.type !== 'request') continue
  await until(() => chat.status === 'ready')
  say('useChat', `shows ${chat.messages.at(-1)?.parts.at(-1)?.type} and asks for an approval`)
  say('millrace', 'sends: Then tell me about millrace.')
  await run.send('message', 'Then tell me about millrace.')

  // --- 4. A script approves the call over plain HTTP.
  const approval = { type: 'approve', data: { call: event.call, ok: true } }
  const { status } = await post(`/runs/${id}/input`, approval)
  say('HTTP', `POST input approve: ${status}`)
  break
}
void chat.resumeStream()

// --- 5. OpenAI's package stops it, in the middle of the answer.
const openai = new OpenAI({ baseURL: `${httpUrl}/v1`, apiKey: token })
await until(() => answer.includes('one token at a time'))
say('openai', 'calls responses.cancel')
const response = await openai.responses.cancel(id)
say('openai', `gets the response: ${response.status}`)

// Everybody learns of the one end.
await watched
const { outcome, receipt } = await native.attach('assistant', id).end
say('millrace', `end ${outcome}, provider ${receipt?.provider}, settled ${receipt?.settled}`)
await until(() => chat.status === 'ready')
const { millrace } = chat.messages.at(-1)?.metadata as { millrace: { outcome: string } }
say('useChat', `shows the message as ${millrace.outcome}`)
const asked = await fetch(`${httpUrl}/runs/${id}`, { headers: { authorization } })
const { end } = (await asked.json()) as { end: RunEnd }
say('HTTP', `GET run: ${end.outcome}, ${end.receipt?.reason} by ${end.receipt?.by}`)

await native.close()
await server.close({ drainMs: 0 })

async function post(path: string, body: object): Promise<{ status: string }> {
  const headers = { authorization, 'content-type': 'application/json' }
  const answered = await fetch(`${httpUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return (await answered.json()) as { status: string }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}
