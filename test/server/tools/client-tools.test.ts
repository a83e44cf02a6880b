import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Client, clientTools, type Run, type StreamEvent } from '../../../client-sdk/node.ts'
import type { ModelRequest } from '../../../server/index.ts'
import { tool } from '../../../server/index.ts'
import { type ServedAgent, servedAgent, Watched } from '../../helpers/agent-run.ts'
import { Collector } from '../../helpers/collector.ts'
import { type HandClock, handClock } from '../../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

const LEASE_MS = 60_000
const wanted = { call: 'c1', name: 'locate', args: { precise: true } }
const input = z.object({ precise: z.boolean() })

type Served = ServedAgent & { readonly asked: ModelRequest[]; readonly runtime: HandClock }

/** No time that a test lets pass makes a silent connection of a living page. */
const limits = { heartbeatMs: 1_000_000 }

/** An agent whose model calls `locate` once. Its time stands still. */
async function serve(call: object = wanted, options: Parameters<typeof servedAgent>[1] = {}): Promise<Served> {
  const scripted = scriptedModel(calls({ ...wanted, ...call }), says('ok'))
  const asked: ModelRequest[] = []
  const model = {
    ...scripted,
    stream(request: ModelRequest) {
      asked.push(request)
      return scripted.stream(request)
    },
  }
  const runtime = handClock()
  const served = await servedAgent(
    { model, clientTools: true, tools: { own: tool({ description: 'Own', run: () => 'own' }) } },
    { runtime, limits, ...options },
  )
  return { ...served, asked, runtime }
}

/** A page that reads a run, runs `locate`, and remembers what happened. */
class Page {
  readonly events: Collector<StreamEvent> = new Collector({ describe: () => JSON.stringify(this.events.items) })
  readonly over: Promise<unknown>
  readonly run: Run
  /** The signal of each call that it began. */
  readonly signals = new Collector<AbortSignal>()

  constructor(run: Run, locate: (precise: boolean, signal: AbortSignal) => unknown, id?: string) {
    this.run = run
    const events = clientTools(
      run,
      {
        locate: {
          description: 'Where the user is',
          input,
          run: ({ precise }, { signal }) => {
            this.signals.add(signal)
            return locate(precise, signal)
          },
        },
      },
      { id },
    )
    this.over = this.#read(events)
  }

  first<Type extends StreamEvent['type']>(type: Type): Promise<Extract<StreamEvent, { type: Type }>> {
    const found = () =>
      this.events.items.find((event): event is Extract<StreamEvent, { type: Type }> => event.type === type)
    return this.events.find(found, type)
  }

  async begun(): Promise<AbortSignal> {
    return this.signals.find(() => this.signals.items[0], 'a call')
  }

  async #read(events: AsyncIterable<StreamEvent>): Promise<unknown> {
    try {
      for await (const event of events) this.events.add(event)
      return undefined
    } catch (error) {
      return error
    }
  }
}

const never = (_: boolean, signal: AbortSignal): Promise<never> =>
  aborted(signal).then(() => Promise.reject(signal.reason))

/** A second page of the same person, on the same run. */
async function join(
  served: Served,
  page: Page,
  locate: () => unknown,
  id?: string,
): Promise<{ page: Page; client: Client }> {
  const client = served.another()
  const { id: run } = await page.run.opened
  const joined = new Page(client.attach('agent', run, { after: 'live', policy: 'log' }), locate, id)
  await joined.run.opened
  return { page: joined, client }
}

describe('a tool that a client declares', () => {
  test('is known to the model from the first turn on, and runs at the client with checked arguments', async () => {
    await using served = await serve()
    const page = new Page(served.client.start('agent', 'go'), (precise) => ({ city: 'Oslo', precise }))
    expect(await page.over).toBeUndefined()
    expect(served.asked[0]!.tools).toMatchObject([
      { name: 'locate', description: 'Where the user is', parameters: { type: 'object', required: ['precise'] } },
      { name: 'own' },
    ])
    expect(await page.first('tool.result')).toMatchObject({ outcome: 'ok', output: { city: 'Oslo', precise: true } })
    expect(served.asked[1]!.messages.at(-1)).toMatchObject({ role: 'tool', content: '{"city":"Oslo","precise":true}' })
    expect(page.events.items.some(({ type }) => type === 'data')).toBe(false)
  })

  test('reports invalid arguments, its errors, and output that cannot travel, to the model', async () => {
    for (const [call, locate, error] of [
      [{ args: { precise: 'very' } }, () => 'unused', /^invalid arguments: precise: .*boolean/],
      [{}, () => Promise.reject(new Error('no permission')), /^no permission$/],
      [{}, () => () => 'a function', /./],
      [{}, () => 'x'.repeat(2_000_000), /./],
    ] as const) {
      await using served = await serve(call)
      const page = new Page(served.client.start('agent', 'go'), locate)
      expect(await page.first('tool.result')).toMatchObject({ outcome: 'error', error: expect.stringMatching(error) })
      expect(await page.over).toBeUndefined()
    }
  })

  test('has its output cut as that of other tools', async () => {
    await using served = await serve()
    const page = new Page(served.client.start('agent', 'go'), () => 'x'.repeat(70_000))
    expect(await page.first('tool.result')).toMatchObject({ outcome: 'ok', truncated: true })
  })

  test('is refused by an agent that takes none, and under a name that the agent uses itself', async () => {
    await using plain = await servedAgent({ model: scriptedModel(says('ok')) })
    const refused = new Page(plain.client.start('agent', 'go'), () => 'unused')
    expect(await refused.over).toMatchObject({
      code: 'invalid_input',
      message: 'this agent takes no tools of clients; set `clientTools: true`',
    })
    await using served = await serve()
    const tools = { own: { description: 'Mine', run: () => 'mine' } }
    const events = clientTools(served.client.start('agent', 'go'), tools)
    const readAll = async (): Promise<void> => {
      for await (const _ of events);
    }
    await expect(readAll()).rejects.toMatchObject({
      code: 'invalid_input',
      message: 'the agent has a tool own of its own: choose another name',
    })
  })

  test.each([
    [{ id: '', tools: [] }, 'id'],
    [{ id: 'a', tools: [{ name: 'a b', description: '', parameters: { type: 'object' } }] }, 'tools: 0: name'],
    [{ id: 'a', tools: [{ name: 'a', description: '', parameters: { type: 'string' } }] }, 'tools: 0: parameters'],
    [
      { id: 'a', tools: [{ name: 'a', description: '', parameters: { type: 'object', title: 'x'.repeat(17_000) } }] },
      'a schema has at most 16384 bytes',
    ],
    [
      { id: 'a', tools: Array(33).fill({ name: 'a', description: '', parameters: { type: 'object' } }) },
      'tools: Too big',
    ],
  ])('is refused if it is %j', async (declaration, words) => {
    await using served = await serve()
    const run = served.client.start('agent', 'go')
    await expect(run.send('tools', declaration)).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(words),
    })
  })

  test('belongs to clients of the principal of the run, whoever else may send inputs', async () => {
    await using served = await serve({}, { authorize: () => true })
    const page = new Page(served.client.start('agent', 'go'), never)
    const { id } = await page.run.opened
    const bob = served.another(served.url, 'bob').attach('agent', id)
    await expect(bob.send('tools', { id: 'b', tools: [] })).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(bob.send('tool.result', { call: 'c1', output: 1 })).rejects.toMatchObject({ code: 'invalid_input' })
  })
})

describe('a stop', () => {
  test.each([
    ['of the call', (page: Page) => page.run.cancel({ call: 'c1' })],
    ['of the run', (page: Page) => page.run.cancel()],
  ])('%s aborts the signal of the tool at the client, and is settled', async (_, stop) => {
    await using served = await serve()
    const page = new Page(served.client.start('agent', 'go'), never)
    const signal = await page.begun()
    expect(await stop(page)).toMatchObject({ outcome: 'cancelled', settled: true })
    await expect.poll(() => signal.aborted).toBe(true)
    await page.over
  })

  test('comes after five minutes by itself', async () => {
    await using served = await serve()
    const page = new Page(served.client.start('agent', 'go'), never)
    const signal = await page.begun()
    served.runtime.advance(300_000)
    expect(await page.first('tool.result')).toMatchObject({
      outcome: 'error',
      error: 'the tool took longer than 300000 ms and was stopped',
    })
    expect(await page.over).toBeUndefined()
    expect(signal.aborted).toBe(true)
  })
})

describe('a page that goes away during its call', () => {
  test('is waited for beyond the lease and the time limit while nobody is there, and the page that comes gets the call', async () => {
    await using served = await serve()
    const first = served.another()
    const page = new Page(first.start('agent', 'go'), never)
    await page.begun()
    await first.close({ runs: 'detach' })
    await expect.poll(() => served.server.connections).toBe(0)
    served.runtime.advance(400_000)
    expect(served.server.liveRuns).toBe(1)
    const { page: other } = await join(served, page, () => 'from the page that came')
    expect(await other.first('tool.result')).toMatchObject({ outcome: 'ok', output: 'from the page that came' })
    await other.over
  })

  test('is replaced after the lease by another one that declared the tool, and its late result is refused', async () => {
    await using served = await serve()
    const first = served.another()
    const page = new Page(first.start('agent', 'go'), never)
    await page.begun()
    const other = await join(served, page, () => 'from the other page')
    await first.close({ runs: 'detach' })
    await expect.poll(() => served.server.connections).toBe(1)
    served.runtime.advance(LEASE_MS - 1)
    expect(other.page.signals.items).toEqual([])
    served.runtime.advance(1)
    expect(await other.page.first('tool.result')).toMatchObject({ outcome: 'ok', output: 'from the other page' })
    expect(await other.page.over).toBeUndefined()
  })

  test('has its late result refused with the reason', async () => {
    await using served = await serve()
    const first = served.another()
    const page = new Page(first.start('agent', 'go'), never)
    await page.begun()
    const { id } = await page.run.opened
    const held = latch()
    const other = await join(served, page, () => held.opened.then(() => 'done'))
    await first.close({ runs: 'detach' })
    await expect.poll(() => served.server.connections).toBe(1)
    served.runtime.advance(LEASE_MS)
    await other.page.begun()
    // A client of its own is as late as the first one would be: the call is not its.
    const late = served.another().attach('agent', id)
    await expect(late.send('tool.result', { call: 'c1', output: 'late' })).rejects.toMatchObject({
      code: 'not_found',
      message: 'this call was given to another client, because this one was away too long',
    })
    held.open()
    await other.page.over
  })

  test('fails its call after the lease when no other page declared the tool', async () => {
    await using served = await serve()
    const first = served.another()
    const page = new Page(first.start('agent', 'go'), never)
    await page.begun()
    const { id } = await page.run.opened
    const watcher = new Watched(served.another().attach('agent', id))
    await watcher.run.opened
    expect(served.server.connections).toBe(2)
    await first.close({ runs: 'detach' })
    await expect.poll(() => served.server.connections).toBe(1)
    served.runtime.advance(LEASE_MS)
    expect(await watcher.first('tool.result')).toMatchObject({
      outcome: 'error',
      error: 'no client that runs locate is connected',
    })
    expect(await watcher.over).toBeUndefined()
  })

  test('takes its call up again at once after a reload under the same name', async () => {
    await using served = await serve()
    const first = served.another()
    const page = new Page(first.start('agent', 'go'), never, 'tab-1')
    await page.begun()
    const { id } = await page.run.opened
    await first.close({ runs: 'detach' })
    const reloaded = new Page(served.another().attach('agent', id), () => 'after the reload', 'tab-1')
    expect(await reloaded.first('tool.result')).toMatchObject({ outcome: 'ok', output: 'after the reload' })
    expect(await reloaded.over).toBeUndefined()
  })
})
