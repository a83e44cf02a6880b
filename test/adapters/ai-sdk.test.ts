import { Chat as Chat7 } from '@ai-sdk/react'
import { Chat as Chat6 } from '@ai-sdk/react-3'
import type { AbstractChat, ChatInit, UIMessage } from 'ai'
import { lastAssistantMessageIsCompleteWithApprovalResponses, lastAssistantMessageIsCompleteWithToolCalls } from 'ai'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { millraceChat, millraceTransport } from '../../adapters/ai-sdk.ts'
import { createClient, type RunEnd } from '../../client-sdk/node.ts'
import { actor, agent, tool } from '../../server/index.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'

type ChatOf = new (init: ChatInit<UIMessage>) => AbstractChat<UIMessage>
const CHATS: [string, ChatOf][] = [
  ['@ai-sdk/react 4', Chat7],
  ['@ai-sdk/react 3', Chat6 as unknown as ChatOf],
]

const pay = tool({
  description: 'Pays',
  input: z.object({ euros: z.number() }),
  needsApproval: true,
  run: ({ euros }) => ({ paid: euros }),
})

/** A count that goes on until it is stopped, and tells that. */
function endless(stopped: { count: number }) {
  return actor({
    async *stream(_input, { signal }) {
      signal.addEventListener('abort', () => stopped.count++)
      for (let n = 0; !signal.aborted; n++) {
        yield `${n} `
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    },
  })
}

async function served(model = scriptedModel(says('hello'))) {
  const stopped = { count: 0 }
  const actors = {
    chat: agent({ model, tools: { pay } }),
    pageTools: agent({ model, clientTools: true }),
    endless: endless(stopped),
    failing: actor({
      async *stream() {
        yield 'so far '
        throw new Error('a secret')
      },
    }),
  }
  const server = await testServer(actors, { models: [model] })
  const clients = new Set<ReturnType<typeof createClient<typeof actors>>>()
  return {
    ...server,
    actors,
    stopped,
    client() {
      const client = createClient<typeof actors>(server.url, { token: 'alice' })
      clients.add(client)
      return client
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...clients].map((client) => client.close()))
      await server[Symbol.asyncDispose]()
    },
  }
}

function textOf(message: UIMessage | undefined): string {
  return (message?.parts ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('')
}

afterEach(() => vi.restoreAllMocks())

describe.each(CHATS)('a chat of %s over the client', (_name, Chat) => {
  test('shows the answer, and sends the whole conversation with the next message', async () => {
    const model = scriptedModel(says('hello'), says('again'))
    await using server = await served(model)
    const ends: RunEnd[] = []
    const chat = millraceChat(Chat, {
      client: server.client(),
      agent: 'chat',
      id: 'c1',
      onEnd: (end) => ends.push(end),
    })
    await chat.sendMessage({ text: 'hi' })
    expect(chat.error).toBeUndefined()
    expect(chat.messages.map(textOf)).toEqual(['hi', 'hello'])
    expect(chat.lastMessage?.id).toMatch(/^r_/)
    await chat.sendMessage({ text: 'and now?' })
    expect(chat.messages.map(textOf)).toEqual(['hi', 'hello', 'and now?', 'again'])
    expect(model.asked.at(-1)).toMatchObject([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'hello' },
      { role: 'user', content: 'and now?' },
    ])
    expect(ends.map(({ outcome }) => outcome)).toEqual(['done', 'done'])
  })

  test('stops the run with `stop()`, and gets its receipt', async () => {
    await using server = await served()
    const ends: RunEnd[] = []
    const chat = millraceChat(Chat, {
      client: server.client(),
      agent: 'endless',
      id: 'c1',
      onEnd: (end) => ends.push(end),
    })
    const sent = chat.sendMessage({ text: 'count' })
    await eventually(() => textOf(chat.lastMessage).includes('3 '), 'the count was shown')
    await chat.stop()
    await sent
    await eventually(() => ends.length === 1, 'the end was reported')
    expect(ends[0]).toMatchObject({ outcome: 'cancelled', receipt: { reason: 'user', by: 'client', settled: true } })
    expect(server.stopped.count).toBe(1)
  })

  test('is found again after a reload, with nothing lost or doubled, and can be stopped then', async () => {
    await using server = await served()
    const before = server.client()
    const first = millraceChat(Chat, { client: before, agent: 'endless', id: 'c1' })
    void first.sendMessage({ text: 'count' })
    await eventually(() => textOf(first.lastMessage).includes('5 '), 'the count was shown')
    const messages = structuredClone(first.messages)
    await before.close({ runs: 'detach' })

    const chat = millraceChat(Chat, { client: server.client(), agent: 'endless', id: 'c1', messages })
    const resumed = chat.resumeStream()
    await eventually(() => textOf(chat.lastMessage).includes('20 '), 'the count went on')
    expect(chat.messages).toHaveLength(2)
    const numbers = textOf(chat.lastMessage).trim().split(' ').map(Number)
    expect(numbers).toEqual(numbers.map((_, n) => n))
    expect(server.stopped.count).toBe(0)
    await chat.stop()
    await resumed
    await eventually(() => server.stopped.count === 1, 'the run was stopped')
  })

  test('that is resumed twice at once, as by strict mode, stops nothing', async () => {
    await using server = await served()
    const before = server.client()
    const first = millraceChat(Chat, { client: before, agent: 'endless', id: 'c1' })
    void first.sendMessage({ text: 'count' })
    await eventually(() => textOf(first.lastMessage).includes('5 '), 'the count was shown')
    await before.close({ runs: 'detach' })

    const client = server.client()
    const chat = millraceChat(Chat, { client, agent: 'endless', id: 'c1' })
    void chat.resumeStream()
    void chat.resumeStream()
    await eventually(() => textOf(chat.lastMessage).includes('20 '), 'the count went on')
    void chat.resumeStream()
    const shown = textOf(chat.lastMessage).length
    await eventually(() => textOf(chat.lastMessage).length > shown + 20, 'the count went on')
    expect(server.stopped.count).toBe(0)
  })

  test('has nothing to resume once the run has ended', async () => {
    await using server = await served()
    const chat = millraceChat(Chat, { client: server.client(), agent: 'chat', id: 'c1' })
    await chat.sendMessage({ text: 'hi' })
    await chat.resumeStream()
    expect(chat.status).toBe('ready')
    expect(chat.messages).toHaveLength(2)
  })

  test('continues the run that waits for an approval, also after a reload', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('paid'))
    await using server = await served(model)
    const sendAutomaticallyWhen = lastAssistantMessageIsCompleteWithApprovalResponses
    const first = millraceChat(Chat, { client: server.client(), agent: 'chat', id: 'c1', sendAutomaticallyWhen })
    await first.sendMessage({ text: 'pay' })
    expect(first.status).toBe('ready')
    expect(first.lastMessage?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'tool-pay', state: 'approval-requested', input: { euros: 5 } },
    ])
    const messages = JSON.parse(JSON.stringify(first.messages)) as UIMessage[]
    const chat = millraceChat(Chat, {
      client: server.client(),
      agent: 'chat',
      id: 'c1',
      messages,
      sendAutomaticallyWhen,
    })
    const { approval } = chat.lastMessage!.parts[1] as { approval: { id: string } }
    await chat.addToolApprovalResponse({ id: approval.id, approved: true })
    await eventually(() => textOf(chat.lastMessage) === 'paid', 'the run went on')
    expect(chat.messages).toHaveLength(2)
    expect(chat.lastMessage?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'tool-pay', state: 'output-available', output: { paid: 5 } },
      { type: 'step-start' },
      { type: 'text', text: 'paid' },
    ])
    await eventually(() => server.server.liveRuns === 0, 'it has ended')
  })

  test('does not ask again, after a reload, what somebody else has answered', async () => {
    const pay5 = calls({ call: 'c1', name: 'pay', args: { euros: 5 } })
    await using server = await served(scriptedModel(pay5, calls({ call: 'c2', name: 'pay', args: { euros: 6 } })))
    const client = server.client()
    const first = millraceChat(Chat, { client, agent: 'chat', id: 'c1' })
    await first.sendMessage({ text: 'pay' })
    const view = server.client().attach('chat', first.lastMessage!.id)
    await view.send('approve', { call: 'c1', ok: true })
    for await (const event of view) if (event.type === 'request' && event.call === 'c2') break

    const chat = millraceChat(Chat, { client: server.client(), agent: 'chat', id: 'c1' })
    await chat.resumeStream()
    expect(chat.lastMessage?.parts).toMatchObject([
      { type: 'step-start' },
      { toolCallId: 'c1', state: 'output-available', output: { paid: 5 } },
      { type: 'step-start' },
      { toolCallId: 'c2', state: 'approval-requested' },
    ])
  })

  test('tells the run of a refusal, and shows the call as denied', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('not paid'))
    await using server = await served(model)
    const chat = millraceChat(Chat, {
      client: server.client(),
      agent: 'chat',
      id: 'c1',
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    })
    await chat.sendMessage({ text: 'pay' })
    const { approval } = chat.lastMessage!.parts[1] as { approval: { id: string } }
    await chat.addToolApprovalResponse({ id: approval.id, approved: false, reason: 'too much' })
    await eventually(() => textOf(chat.lastMessage) === 'not paid', 'the run went on')
    expect(chat.lastMessage?.parts[1]).toMatchObject({ state: 'output-denied', approval: { approved: false } })
    expect(model.asked.at(-1)?.at(-1)).toMatchObject({ role: 'tool', content: expect.stringContaining('too much') })
  })

  test('runs the tools of the page, and the run goes on with their output', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'place', args: {} }), says('in Oslo'))
    await using server = await served(model)
    const parameters = { type: 'object', properties: {} }
    const chat: AbstractChat<UIMessage> = millraceChat(Chat, {
      client: server.client(),
      agent: 'pageTools',
      id: 'c1',
      tools: { place: { description: 'Where the user is', parameters } },
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall: { toolCallId } }) {
        void chat.addToolOutput({ tool: 'place', toolCallId, output: { city: 'Oslo' } })
      },
    })
    await chat.sendMessage({ text: 'where am I?' })
    await eventually(() => textOf(chat.lastMessage) === 'in Oslo', 'the run went on')
    expect(model.asked.at(-1)?.at(-1)).toMatchObject({ role: 'tool', content: '{"city":"Oslo"}' })
    await eventually(() => server.server.liveRuns === 0, 'it has ended')
  })

  test('cancels a run that waits when the person says something else instead', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('fine'))
    await using server = await served(model)
    const chat = millraceChat(Chat, { client: server.client(), agent: 'chat', id: 'c1' })
    await chat.sendMessage({ text: 'pay' })
    expect(server.server.liveRuns).toBe(1)
    await chat.sendMessage({ text: 'forget it' })
    await eventually(() => server.server.liveRuns === 0, 'the run that waited ended')
    expect(textOf(chat.lastMessage)).toBe('fine')
  })

  test('shows the error of a run as an error, and one of the start too', async () => {
    await using server = await served()
    const chat = millraceChat(Chat, { client: server.client(), agent: 'failing', id: 'c1' })
    await chat.sendMessage({ text: 'go' })
    expect(chat.status).toBe('error')
    expect(chat.error?.message).not.toContain('secret')
    expect(textOf(chat.lastMessage)).toBe('so far ')
    const unknown = millraceChat(Chat, { client: server.client(), agent: 'nobody' as 'chat', id: 'c2' })
    await unknown.sendMessage({ text: 'go' })
    expect(unknown.error).toMatchObject({ code: 'not_found' })
  })

  test('whose run somebody else cancels does not show a success, and starts nothing new', async () => {
    await using server = await served()
    const client = server.client()
    const finished: unknown[] = []
    const chat = millraceChat(Chat, {
      client,
      agent: 'endless',
      id: 'c1',
      sendAutomaticallyWhen: () => finished.length > 5,
      onFinish: ({ finishReason }) => void finished.push(finishReason),
    })
    const sent = chat.sendMessage({ text: 'count' })
    await eventually(() => textOf(chat.lastMessage).includes('3 '), 'the count was shown')
    const [run] = await client.runs()
    await server.client().attach('endless', run!.id).cancel({ note: 'enough' })
    await sent
    expect(chat.lastMessage?.metadata).toMatchObject({
      millrace: { outcome: 'cancelled', receipt: { note: 'enough' } },
    })
    expect(finished).toHaveLength(1)
    expect(['interrupted', undefined]).toContain(finished[0])
  })
})

test('a transport warns once that an abort may be that of a component, unless it is told what one means', async () => {
  await using server = await served()
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {})
  for (const onAbort of ['detach', undefined, undefined] as const) {
    const transport = millraceTransport({ client: server.client(), agent: 'endless', onAbort })
    const chat = new Chat7({ transport, id: `c-${onAbort}` })
    void chat.sendMessage({ text: 'count' })
    await eventually(() => textOf(chat.lastMessage).includes('3 '), 'the count was shown')
    await chat.stop()
  }
  await eventually(() => server.server.liveRuns === 1, 'only the run that was to be detached goes on')
  expect(server.stopped.count).toBe(2)
  expect(warned).toHaveBeenCalledTimes(1)
})
