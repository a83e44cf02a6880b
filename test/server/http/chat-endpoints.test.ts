import { HttpAgent as Http1 } from '@ag-ui/client'
import { HttpAgent as Http0 } from '@ag-ui/client-0'
import { Chat as Chat7 } from '@ai-sdk/react'
import { Chat as Chat6 } from '@ai-sdk/react-3'
import {
  type AbstractChat,
  type ChatInit,
  DefaultChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  type UIMessage,
} from 'ai'
import { DefaultChatTransport as DefaultChatTransport6 } from 'ai-6'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor, agent, tool } from '../../../server/index.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { onWs } from '../../helpers/transports.ts'

const pay = tool({
  description: 'Pays',
  input: z.object({ euros: z.number() }),
  needsApproval: true,
  run: ({ euros }) => ({ paid: euros }),
})
const headers = { authorization: 'Bearer alice' }

async function served(model = scriptedModel(says('hello'))) {
  const stopped = { count: 0 }
  const endless = actor({
    async *stream(_input, { signal }) {
      signal.addEventListener('abort', () => stopped.count++)
      for (let n = 0; !signal.aborted; n++) {
        yield `${n} `
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  })
  const actors = { chat: agent({ model, tools: { pay } }), endless }
  const server = await testServer(actors, { models: [model], http: true }, onWs)
  return { ...server, stopped, http: server.url.replace('ws:', 'http:') }
}

function textOf(messages: readonly { role: string; parts?: readonly unknown[]; content?: unknown }[]): string {
  const texts = messages.map(({ role, parts, content }) => {
    if (role !== 'assistant') return ''
    if (!parts) return typeof content === 'string' ? content : ''
    return parts
      .map((part) => ((part as { type: string }).type === 'text' ? (part as { text: string }).text : ''))
      .join('')
  })
  return texts.join('')
}

type ChatOf = new (init: ChatInit<UIMessage>) => AbstractChat<UIMessage>
describe.each([
  ['7', Chat7 as ChatOf, DefaultChatTransport],
  ['6', Chat6 as unknown as ChatOf, DefaultChatTransport6 as unknown as typeof DefaultChatTransport],
] as const)('the stock HTTP transport of ai %s', (_name, Chat, Transport) => {
  test('gets the answer, and continues the run that waits for an approval', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('paid'))
    await using server = await served(model)
    const chat = new Chat({
      transport: new Transport({ api: `${server.http}/ai-sdk/chat`, headers }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    })
    await chat.sendMessage({ text: 'pay' })
    expect(chat.error).toBeUndefined()
    const part = chat.lastMessage!.parts.find(({ type }) => type === 'tool-pay') as { approval: { id: string } }
    await chat.addToolApprovalResponse({ id: part.approval.id, approved: true })
    await eventually(() => textOf(chat.messages) === 'paid', 'the run went on')
    expect(server.server.liveRuns).toBe(0)
  })

  test('resumes a chat after a reload, and leaving it cancels only where the page says so', async () => {
    await using server = await served()
    const transport = (body: object) => new Transport({ api: `${server.http}/ai-sdk/endless`, headers, body })
    const first = new Chat({ id: 'c1', transport: transport({}) })
    const sent = first.sendMessage({ text: 'count' })
    await eventually(() => textOf(first.messages).includes('5 '), 'the count was shown')
    await first.stop()
    await sent
    const chat = new Chat({ id: 'c1', transport: transport({}) })
    void chat.resumeStream()
    await eventually(() => textOf(chat.messages).includes('20 '), 'the count went on')
    const numbers = textOf(chat.messages).trim().split(' ').map(Number)
    expect(numbers).toEqual(numbers.map((_, n) => n))
    expect(server.stopped.count).toBe(0)
    const cancelling = new Chat({ id: 'c2', transport: transport({ disconnect: 'cancel' }) })
    void cancelling.sendMessage({ text: 'count' })
    await eventually(() => textOf(cancelling.messages).includes('5 '), 'the count was shown')
    await cancelling.stop()
    await eventually(() => server.stopped.count === 1, 'the run was stopped')
  })

  test('shows a refusal as an error, and finds nothing to resume where nothing goes on', async () => {
    await using server = await served()
    const chat = new Chat({ transport: new Transport({ api: `${server.http}/ai-sdk/nobody`, headers }) })
    await chat.sendMessage({ text: 'hi' })
    expect(chat.error?.message).toContain('not_found')
    const stranger = new Chat({ transport: new Transport({ api: `${server.http}/ai-sdk/chat` }) })
    await stranger.sendMessage({ text: 'hi' })
    expect(stranger.error?.message).toContain('unauthenticated')
    const idle = new Chat({ transport: new Transport({ api: `${server.http}/ai-sdk/chat`, headers }) })
    await idle.resumeStream()
    expect(idle.status).toBe('ready')
  })
})

describe.each([
  ['1.0', Http1],
  ['0.0.59', Http0 as unknown as typeof Http1],
] as const)('the stock HTTP agent of AG-UI %s', (_name, HttpAgent) => {
  test('gets the answer, and answers an interrupt', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('paid'))
    await using server = await served(model)
    const mine = new HttpAgent({ url: `${server.http}/ag-ui/chat`, headers, threadId: 't1' })
    mine.addMessage({ id: 'm1', role: 'user', content: 'pay' })
    await mine.runAgent()
    const resume = [{ interruptId: mine.pendingInterrupts[0]!.id, status: 'resolved', payload: true } as const]
    await mine.runAgent({ resume })
    expect(textOf(mine.messages)).toBe('paid')
    expect(server.server.liveRuns).toBe(0)
  })

  test('stops the run when it leaves, where its address says so', async () => {
    await using server = await served()
    const mine = new HttpAgent({ url: `${server.http}/ag-ui/endless?disconnect=cancel`, headers, threadId: 't1' })
    const running = mine.runAgent()
    await eventually(() => textOf(mine.messages).includes('5 '), 'the count was shown')
    mine.abortRun()
    await running.catch(() => {})
    await eventually(() => server.stopped.count === 1, 'the run was stopped')
  })
})

test('a thread of AG-UI shows its active run from the beginning, and ends at once where there is none', async () => {
  await using server = await served()
  const input = { threadId: 't1', runId: 'r1', messages: [], tools: [], context: [], state: {}, forwardedProps: {} }
  const post = (path: string, body: unknown) =>
    fetch(`${server.http}${path}`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const none = await post('/ag-ui/endless/connect', input)
  expect(await none.text()).toContain('"RUN_FINISHED"')
  const started = await post('/ag-ui/endless', input)
  await started.body!.cancel()
  const connected = await post('/ag-ui/endless/connect', input)
  expect(connected.headers.get('millrace-run')).toBe(started.headers.get('millrace-run'))
  const reader = connected.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('"10 "')) text += (await reader.read()).value ?? ''
  expect(text).toContain('"0 "')
  await reader.cancel()
  for (const wrong of [{}, { ...input, messages: 1 }, { ...input, resume: [{ interruptId: 'q' }] }, [1], null])
    expect((await post('/ag-ui/endless', wrong)).status).toBe(422)
  const late = await post('/ag-ui/chat', { ...input, resume: [{ interruptId: 'q', status: 'resolved' }] })
  expect(late.status).toBe(404)
})
