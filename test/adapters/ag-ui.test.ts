import { AbstractAgent as Agent1, type BaseEvent, type Message, type RunAgentInput } from '@ag-ui/client'
import { AbstractAgent as Agent0 } from '@ag-ui/client-0'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { millraceAgent } from '../../adapters/ag-ui.ts'
import { createClient } from '../../client-sdk/node.ts'
import { actor, agent, tool } from '../../server/index.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'

const pay = tool({
  description: 'Pays',
  input: z.object({ euros: z.number() }),
  needsApproval: true,
  run: ({ euros }) => ({ paid: euros }),
})

async function served(model = scriptedModel(says('hello'))) {
  const stopped = { count: 0, said: 0 }
  const actors = {
    chat: agent({ model, tools: { pay }, clientTools: true }),
    endless: actor({
      async *stream(_input, { signal }) {
        signal.addEventListener('abort', () => stopped.count++)
        while (!signal.aborted) {
          yield `${stopped.said++} `
          await new Promise((resolve) => setImmediate(resolve))
        }
      },
    }),
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

const user = (content: string): Message => ({ id: `m-${content}`, role: 'user', content })

function textOf(messages: readonly Message[]): string {
  return messages
    .map(({ role, content }) => (role === 'assistant' && typeof content === 'string' ? content : ''))
    .join('')
}

describe.each([
  ['1.0', Agent1, 1],
  ['0.0.59', Agent0 as unknown as typeof Agent1, 0],
] as const)('an agent of AG-UI %s over the client', (_name, AbstractAgent, version) => {
  test('shows the answer as a message, and sends the conversation with the next run', async () => {
    const model = scriptedModel(says('hello'), says('again'))
    await using server = await served(model)
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'chat', threadId: 't1' })
    expect(mine).toBeInstanceOf(AbstractAgent)
    mine.addMessage(user('hi'))
    await mine.runAgent()
    expect(mine.messages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'hi'],
      ['assistant', 'hello'],
    ])
    const copy = mine.clone() as typeof mine
    copy.addMessage(user('more'))
    await copy.runAgent()
    expect(textOf(copy.messages)).toBe('helloagain')
    expect(model.asked.at(-1)?.map(({ content }) => content)).toEqual(['hi', 'hello', 'more'])
  })

  test('stops the run with `abortRun`, and reports it as cancelled', async () => {
    await using server = await served()
    const ends: unknown[] = []
    const mine = millraceAgent(AbstractAgent, {
      client: server.client(),
      agent: 'endless',
      threadId: 't1',
      onEnd: ({ outcome, receipt }) => ends.push({ outcome, settled: receipt?.settled }),
    })
    const last: BaseEvent[] = []
    const running = mine.runAgent({}, { onEvent: ({ event }) => void (last[0] = event) })
    await eventually(() => textOf(mine.messages).includes('5 '), 'the count was shown')
    mine.abortRun()
    await running
    expect(ends).toEqual([{ outcome: 'cancelled', settled: true }])
    expect(last[0]).toMatchObject(
      version === 1
        ? { type: 'RUN_FINISHED', outcome: { type: 'cancelled' } }
        : { type: 'RUN_ERROR', code: 'cancelled' },
    )
    expect(server.stopped.count).toBe(1)
  })

  test('lets the run go on when it is detached, and shows it from its beginning when it connects again', async () => {
    await using server = await served()
    const before = server.client()
    const first = millraceAgent(AbstractAgent, { client: before, agent: 'endless', threadId: 't1' })
    const running = first.runAgent()
    await eventually(() => textOf(first.messages).includes('5 '), 'the count was shown')
    await first.detachActiveRun()
    await running
    await before.close({ runs: 'detach' })

    const history = [user('earlier')]
    const mine = millraceAgent(AbstractAgent, {
      client: server.client(),
      agent: 'endless',
      threadId: 't1',
      history: async () => history,
    })
    const connected = mine.connectAgent()
    await eventually(() => textOf(mine.messages).includes('50 '), 'the count went on')
    expect(server.stopped.count).toBe(0)
    expect(mine.messages[0]).toMatchObject(history[0]!)
    const numbers = textOf(mine.messages).trim().split(' ').map(Number)
    expect(numbers).toEqual(numbers.map((_, n) => n))
    mine.abortRun()
    await connected
    await eventually(() => server.stopped.count === 1, 'the run was stopped')
  })

  test('connects to a thread without an active run and shows its history', async () => {
    await using server = await served()
    const history = [user('earlier')]
    const client = server.client()
    const mine = millraceAgent(AbstractAgent, { client, agent: 'chat', threadId: 't1', history: () => history })
    await mine.connectAgent()
    expect(mine.messages).toMatchObject(history)
  })

  test('ends with an interrupt for an approval, and goes on with the answer', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('paid'))
    await using server = await served(model)
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'chat', threadId: 't1' })
    mine.addMessage(user('pay'))
    await mine.runAgent()
    const [asked] = mine.pendingInterrupts
    expect(asked).toMatchObject({ reason: 'approve', toolCallId: 'c1' })
    await mine.runAgent({ resume: [{ interruptId: asked!.id, status: 'resolved', payload: { ok: true } }] })
    expect(textOf(mine.messages)).toBe('paid')
    expect(mine.messages).toContainEqual(expect.objectContaining({ role: 'tool', content: '{"paid":5}' }))
    await eventually(() => server.server.liveRuns === 0, 'it has ended')
  })

  test('refuses an approval that is cancelled', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'pay', args: { euros: 5 } }), says('not paid'))
    await using server = await served(model)
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'chat', threadId: 't1' })
    mine.addMessage(user('pay'))
    await mine.runAgent()
    await mine.runAgent({ resume: [{ interruptId: mine.pendingInterrupts[0]!.id, status: 'cancelled' }] })
    expect(textOf(mine.messages)).toBe('not paid')
    expect(model.asked.at(-1)?.at(-1)).toMatchObject({ role: 'tool', content: expect.stringContaining('refused') })
  })

  test('leaves the tools of the page to the page, and goes on with their output', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'place', args: {} }), says('in Oslo'))
    await using server = await served(model)
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'chat', threadId: 't1' })
    const tools = [{ name: 'place', description: 'Where the user is', parameters: { type: 'object', properties: {} } }]
    mine.addMessage(user('where am I?'))
    await mine.runAgent({ tools })
    expect(textOf(mine.messages)).toBe('')
    mine.addMessage({ id: 'm-tool', role: 'tool', toolCallId: 'c1', content: 'Oslo' })
    await mine.runAgent({ tools })
    expect(textOf(mine.messages)).toBe('in Oslo')
    expect(model.asked.at(-1)?.at(-1)).toMatchObject({ role: 'tool', content: 'Oslo' })
    await eventually(() => server.server.liveRuns === 0, 'it has ended')
  })

  test('stops the actor when a subscriber takes its time', async () => {
    await using server = await served()
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'endless', start: { credit: 16 } })
    let go = (): void => {}
    const held = new Promise<void>((resolve) => {
      go = resolve
    })
    const running = mine.runAgent({}, { onTextMessageContentEvent: () => held })
    await eventually(() => server.stopped.said > 10, 'the actor began')
    let before = -1
    let still = 0
    await eventually(() => {
      still = before === server.stopped.said ? still + 1 : 0
      before = server.stopped.said
      return still >= 50
    }, 'the actor waits')
    expect(before).toBeLessThan(600)
    go()
    await eventually(() => server.stopped.said > before + 100, 'the actor went on')
    mine.abortRun()
    await running
  })

  test('reports the error of a run as an error', async () => {
    await using server = await served()
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'failing' })
    const errors: BaseEvent[] = []
    await mine.runAgent({}, { onRunErrorEvent: ({ event }) => void errors.push(event) }).catch(() => {})
    expect(errors).toMatchObject([{ type: 'RUN_ERROR', code: 'actor_failed' }])
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const nobody = millraceAgent(AbstractAgent, { client: server.client(), agent: 'nobody' as 'chat' })
    await expect(nobody.runAgent()).rejects.toMatchObject({ code: 'not_found' })
    vi.restoreAllMocks()
  })

  test('leaves the run alone when its observable is left', async () => {
    await using server = await served()
    const mine = millraceAgent(AbstractAgent, { client: server.client(), agent: 'endless' })
    const input: RunAgentInput = {
      ...{ threadId: 't1', runId: 'r1', messages: [], tools: [], context: [] },
      ...{ state: {}, forwardedProps: {} },
    }
    const seen: BaseEvent[] = []
    const reading = mine.run(input).subscribe((event) => seen.push(event))
    await eventually(() => seen.length > 10, 'events came')
    reading.unsubscribe()
    const { length } = seen
    await eventually(() => server.stopped.said > 0, 'the run goes on')
    expect([server.server.liveRuns, server.stopped.count, seen.length]).toEqual([1, 0, length])
  })
})
