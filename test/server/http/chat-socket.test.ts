import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Chat } from '@ai-sdk/react'
import { lastAssistantMessageIsCompleteWithApprovalResponses, type UIMessage, WebSocketChatTransport } from 'ai'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { actor, agent, tool } from '../../../server/index.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { onUws, onWs } from '../../helpers/transports.ts'

const pay = tool({
  description: 'Pays',
  input: z.object({ euros: z.number() }),
  needsApproval: true,
  run: ({ euros }) => ({ paid: euros }),
})
const ALICE: Record<string, string> = { authorization: 'Bearer alice' }

function actorsOf(model = scriptedModel(says('hello'))) {
  const stopped = { count: 0, said: 0 }
  const endless = actor({
    async *stream(_input, { signal }) {
      signal.addEventListener('abort', () => stopped.count++)
      for (let n = 0; !signal.aborted; n++) {
        stopped.said++
        yield `${n} `
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  })
  const flood = actor({
    async *stream() {
      for (;;) {
        stopped.said++
        yield 'x'.repeat(1_024)
      }
    },
  })
  return { actors: { chat: agent({ model, tools: { pay } }), endless, flood }, model, stopped }
}

async function served(model?: ReturnType<typeof scriptedModel>, options: object = {}) {
  const made = actorsOf(model)
  const server = await testServer(made.actors, { models: [made.model], http: true, ...options }, onWs)
  return { ...server, stopped: made.stopped }
}

function chatAt(url: string, { headers = ALICE, ...init } = {}) {
  const transport = new WebSocketChatTransport<UIMessage>({ url, headers, webSocket: WebSocket as never })
  return { transport, chat: new Chat({ transport, ...init }) }
}

function textOf(messages: readonly UIMessage[]): string {
  return messages
    .flatMap(({ role, parts }) => (role === 'assistant' ? parts : []))
    .map((part) => (part.type === 'text' ? part.text : ''))
    .join('')
}

describe.each([
  ['ws', onWs],
  ['uws', onUws],
] as const)("the AI SDK's own WebSocket transport, on %s", (_name, by) => {
  test('gets the answer, and continues the run that waits for an approval', async () => {
    const made = actorsOf(scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('paid')))
    const http = by === onUws ? { httpPort: 0 } : { http: true }
    await using server = await testServer(made.actors, { models: [made.model], ...http }, by)
    const { chat } = chatAt(`${server.url}/ai-sdk/chat`, {
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    } as object)
    await chat.sendMessage({ text: 'pay' })
    expect(chat.error).toBeUndefined()
    const part = chat.lastMessage!.parts.find(({ type }) => type === 'tool-pay') as { approval: { id: string } }
    await chat.addToolApprovalResponse({ id: part.approval.id, approved: true })
    await eventually(() => textOf(chat.messages) === 'paid', 'the run went on')
    await eventually(() => server.server.liveRuns === 0, 'it has ended')
  })
})

test('an abort cancels the run, and one to an address with abort=detach leaves it alone', async () => {
  await using server = await served()
  for (const [query, count] of [
    ['?abort=detach', 0],
    ['', 1],
  ] as const) {
    const { chat } = chatAt(`${server.url}/ai-sdk/endless${query}`)
    void chat.sendMessage({ text: 'count' })
    await eventually(() => textOf(chat.messages).includes('5 '), 'the count was shown')
    await chat.stop()
    await eventually(() => server.stopped.count === count, 'the run was stopped as it should be')
    await eventually(() => server.server.liveRuns === 1, 'only the run that was left alone goes on')
  }
})

test('a lost socket leaves the run alone, and a resumed chat has everything once', async () => {
  await using server = await served()
  const first = chatAt(`${server.url}/ai-sdk/endless`, { id: 'c1' } as object)
  const sent = first.chat.sendMessage({ text: 'count' })
  await eventually(() => textOf(first.chat.messages).includes('5 '), 'the count was shown')
  first.transport.close()
  await sent
  expect(first.chat.status).toBe('error')
  const { chat } = chatAt(`${server.url}/ai-sdk/endless`, { id: 'c1' } as object)
  void chat.resumeStream()
  await eventually(() => textOf(chat.messages).includes('20 '), 'the count went on')
  const numbers = textOf(chat.messages).trim().split(' ').map(Number)
  expect(numbers).toEqual(numbers.map((_, n) => n))
  expect(server.stopped.count).toBe(0)
  const idle = chatAt(`${server.url}/ai-sdk/endless`, { id: 'other' } as object)
  await idle.chat.resumeStream()
  expect(idle.chat.status).toBe('ready')
})

test('a client is who its ticket, its upgrade or its request says, and a stranger is told so', async () => {
  await using server = await served()
  const stranger = chatAt(`${server.url}/ai-sdk/chat`, { headers: {} })
  await stranger.chat.sendMessage({ text: 'hi' })
  expect(stranger.chat.error?.message).toContain('4401')
  const { httpUrl } = { httpUrl: server.url.replace('ws:', 'http:') }
  const asked = await fetch(`${httpUrl}/tickets`, {
    method: 'POST',
    headers: { ...ALICE, 'content-type': 'application/json' },
    body: JSON.stringify({ actor: 'chat' }),
  })
  const { ticket } = (await asked.json()) as { ticket: string }
  const guest = chatAt(`${server.url}/ai-sdk/chat?ticket=${encodeURIComponent(ticket)}`, { headers: {} })
  await guest.chat.sendMessage({ text: 'hi' })
  expect(textOf(guest.chat.messages)).toBe('hello')
  const thief = chatAt(`${server.url}/ai-sdk/chat?ticket=${encodeURIComponent(ticket)}`, { headers: {} })
  await thief.chat.sendMessage({ text: 'hi' })
  expect(thief.chat.error?.message).toContain('4401')
})

test('a socket that is not read stops the actor, and memory stays bounded', async () => {
  await using server = await served()
  const socket = new WebSocket(`${server.url}/ai-sdk/flood`)
  await new Promise((resolve) => socket.once('open', resolve))
  const messages = [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'go' }] }]
  const send = {
    type: 'send',
    requestId: 'r1',
    id: 'c1',
    trigger: 'submit-message',
    messages,
    headers: ALICE,
    body: {},
  }
  socket.send(JSON.stringify(send))
  await new Promise((resolve) => socket.once('message', resolve))
  socket.pause()
  let before = -1
  for (let same = 0; same < 20; same = server.stopped.said === before ? same + 1 : 0) {
    before = server.stopped.said
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  socket.resume()
  await eventually(() => server.stopped.said > before + 1_000, 'the actor went on')
  socket.terminate()
})

test('anything but a frame of a chat closes the socket, and leaves others alone', async () => {
  await using server = await served()
  const other = chatAt(`${server.url}/ai-sdk/endless`)
  void other.chat.sendMessage({ text: 'count' })
  const wrong: (string | Buffer)[] = [
    ...['no json', '[]', 'null', '{"type":"send"}', '{"type":"abort"}', '{"type":"what","requestId":"r"}'],
    ...[Buffer.from([1, 2, 3]), JSON.stringify({ type: 'resume', requestId: 'r', id: 'c', lastSequence: -1 })],
  ]
  for (const message of wrong) {
    const socket = new WebSocket(`${server.url}/ai-sdk/chat`)
    await new Promise((resolve) => socket.once('open', resolve))
    socket.send(message)
    const code = await new Promise((resolve) => socket.once('close', resolve))
    expect(code).toBe(4400)
  }
  await eventually(() => textOf(other.chat.messages).includes('5 '), 'the other chat went on')
  const bad = chatAt(`${server.url}/ai-sdk/chat`)
  await bad.transport
    .sendMessages({
      ...{ trigger: 'submit-message', chatId: 'c', messageId: undefined, abortSignal: undefined },
      messages: [{ id: 'm', role: 'nobody', parts: [] }] as never,
    })
    .then(async (stream) => expect(stream.getReader().read()).rejects.toThrow('invalid_input'))
})

test('an attached server has it below its own path, and a server without plain HTTP has none', async () => {
  await using off = await served(undefined, { http: false })
  const none = chatAt(`${off.url}/ai-sdk/chat`)
  await none.chat.sendMessage({ text: 'hi' })
  expect(none.chat.status).toBe('error')
  await using server = await served()
  const http = createServer().listen(0)
  server.server.attach(http, { path: '/agents' })
  const { port } = http.address() as AddressInfo
  const { chat, transport } = chatAt(`ws://127.0.0.1:${port}/agents/ai-sdk/chat`)
  await chat.sendMessage({ text: 'hi' })
  expect(textOf(chat.messages)).toBe('hello')
  // The HTTP server waits for its sockets.
  transport.close()
  await new Promise((resolve) => http.close(resolve))
})
