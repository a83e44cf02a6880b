import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Client, StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { agent } from '../../server/index.ts'
import { ollama } from '../../server/models/ollama.ts'
import { openai } from '../../server/models/openai.ts'
import { FakeProvider, wallMs } from '../helpers/fake-provider.ts'
import type { Behaviour } from '../helpers/fake-provider-wire.ts'
import { growth, latencies, megabytes, percentile } from '../helpers/figures.ts'
import { heldByLoopback } from '../helpers/held-by-loopback.ts'
import { readAll } from '../helpers/read-all.ts'
import { type Asked, type ServedActors, servedActors } from '../helpers/served-actors.ts'
import { type ServedMemory, servedProcess } from '../helpers/served-process.ts'
import { type TestServer, testServer } from '../helpers/server.ts'
import { repetitions } from '../helpers/tier.ts'

/** How often each moment is met. */
const CANCELS = repetitions({ quick: 5, full: 100 })
/** How many tokens a client reads that takes each by itself. */
const SIPS = repetitions({ quick: 5_000, full: 9_000 })
/** The log of a run, and the answer of the model, which an adapter may keep for the next request. */
const KEPT_MB = (DEFAULT_LIMITS.retainBytes + SIPS * 1_000) / 1_048_576
/** The figures are printed; these bounds only say that nothing waits for what it should not. */
const GENEROUS_MS = 250
const LIMITS = { startsPerSec: 1e6, startBurst: 1e6 }

let provider: FakeProvider
let server: TestServer<ServedActors>
let client: Client<ServedActors>
/** The same actors in a process of their own, whose memory is theirs alone. */
let remote: Awaited<ReturnType<typeof servedProcess>>

beforeAll(async () => {
  ;[provider, remote] = await Promise.all([FakeProvider.start(), servedProcess()])
  server = await testServer(servedActors(), { limits: LIMITS })
  client = createClient<ServedActors>(server.url, { token: 'alice' })
})
afterAll(async () => {
  await client.close()
  await server[Symbol.asyncDispose]()
  await Promise.all([provider[Symbol.asyncDispose](), remote[Symbol.asyncDispose]()])
})

/** A moment at which an answer is cancelled. */
type Moment = {
  moment: string
  behaviour: Behaviour
  /** The last thing the client sees before it cancels; without one, the provider itself says when. */
  sees?: (event: StreamEvent) => boolean
}

const calls = [{ name: 'weather', args: '{"city":"Oslo","days":[1,2,3]}' }]

const moments: Moment[] = [
  { moment: 'before the headers', behaviour: { hold: 'headers' } },
  { moment: 'before the first token', behaviour: { hold: 'first-token' } },
  {
    moment: 'between two tokens',
    behaviour: { tokens: 3, hold: 'tokens' },
    sees: (event) => event.type === 'token' && event.text.startsWith('t2'),
  },
  {
    moment: 'while tokens come',
    behaviour: { tokens: 1_000_000, everyMs: 1 },
    sees: (event) => event.type === 'token' && event.text.startsWith('t5'),
  },
  {
    moment: 'in the arguments of a tool',
    behaviour: { tokens: 1, calls: [...calls, ...calls], hold: 'args' },
    sees: ({ type }) => type === 'tool.args' || type === 'tool.call',
  },
]

describe.each(['openai', 'responses', 'anthropic', 'gemini', 'ollama'] as const)('%s, asked by an actor', (kind) => {
  const asked = (name: string): Asked => ({ provider: kind, name, host: provider.host })

  test.each(moments)(
    'a cancel $moment closes the socket of the provider, and no event comes after it',
    async ({ moment, behaviour, sees }) => {
      const name = `${kind} ${moment}`
      await provider.behave(name, behaviour)
      const took: number[] = []
      for (let n = 1; n <= CANCELS; n++) {
        const run = client.start('ask', asked(name))
        const events = run[Symbol.asyncIterator]()
        const { id } = await provider.request(name, n)
        if (sees) for (let step = await events.next(); !step.done && !sees(step.value); ) step = await events.next()
        else await provider.seen(id, 'holding')
        const calledAt = wallMs()
        const cancelled = run.cancel()
        expect(await events.next()).toEqual({ value: undefined, done: true })
        const { at, whole } = await provider.closed(id)
        expect(whole).toBe(false)
        took.push(at - calledAt)
        expect(await cancelled).toMatchObject({ outcome: 'cancelled', settled: true, provider: 'closed' })
      }
      expect(await provider.count(name)).toBe(CANCELS)
      console.log(`${kind}, cancel ${moment}, call to the provider's closed socket: ${latencies(took)}`)
      expect(percentile(took, 0.5)).toBeLessThan(GENEROUS_MS)
    },
  )

  test('a cancel in the wait before a retry ends it at once, and no further request is made', async () => {
    const name = `${kind} retry`
    await provider.behave(name, { status: 503, headers: { 'retry-after': '30' } })
    const took: number[] = []
    for (let n = 1; n <= CANCELS; n++) {
      const run = client.start('ask', asked(name))
      const events = run[Symbol.asyncIterator]()
      expect((await events.next()).value).toMatchObject({ type: 'retry', attempt: 1, delayMs: 30_000 })
      const calledAt = wallMs()
      const cancelled = run.cancel()
      expect(await events.next()).toEqual({ value: undefined, done: true })
      expect(await cancelled).toMatchObject({ outcome: 'cancelled', settled: true })
      took.push(wallMs() - calledAt)
    }
    expect(await provider.count(name)).toBe(CANCELS)
    console.log(`${kind}, cancel in a retry's wait, call to END: ${latencies(took)}`)
    expect(percentile(took, 0.5)).toBeLessThan(GENEROUS_MS)
  })

  test('a client that does not read stops the provider, costs the server nothing, and then gets everything', async () => {
    const tokenBytes = 1_000
    const beyondKernel = Math.ceil((3 * (await heldByLoopback())) / tokenBytes)
    const tokens = Math.max(beyondKernel, repetitions({ quick: 8_000, full: 20_000, long: 60_000 }))
    const name = `${kind} paused`
    await provider.behave(name, { tokens: Math.ceil(tokens / 5), tokenBytes }, { tokens, tokenBytes })
    const reader = createClient<ServedActors>(remote.url, { token: 'alice' })
    const memory = (): Promise<ServedMemory> => remote.ask({ type: 'memory' })
    await reader.start('ask', asked(name)).result
    const before = await memory()

    const events = reader.start('ask', asked(name))[Symbol.asyncIterator]()
    const texts: string[] = []
    const read = async (): Promise<boolean> => {
      const step = await events.next()
      if (!step.done && step.value.type === 'token') texts.push(step.value.text)
      return step.done !== true
    }
    for (let n = 0; n < 10; n++) await read()
    const { id } = await provider.request(name, 2)
    let written = await provider.stalled(id)
    let held = await memory()
    // It comes to rest: nothing moves while nobody reads. A busy server may have read on after a while.
    while ((await provider.written(id)).bytes !== written.bytes) {
      written = await provider.stalled(id)
      held = await memory()
    }
    console.log(
      `${kind}, client paused after 10 of ${tokens} tokens: provider blocked after ${written.tokens} tokens (${megabytes(written.bytes).toFixed(1)} MB), server heap + external ${growth(before.heap, held.heap)}, RSS ${growth(before.rss, held.rss)}`,
    )
    expect(written.tokens).toBeLessThan(tokens)
    expect(megabytes(held.heap - before.heap)).toBeLessThan(4)
    while (await read());
    expect(texts).toHaveLength(tokens)
    expect(texts).toEqual(Array.from({ length: tokens }, (_, n) => `t${n} `.padEnd(tokenBytes, '.')))
    await reader.close()
  })

  test('a client that reads a little now and then leaves the rest with the provider, not in the memory of the server', async () => {
    const name = `${kind} sipped`
    const tokenBytes = 1_000
    await provider.behave(name, { tokens: 1_000, tokenBytes }, { tokens: 1_000_000, tokenBytes })
    const reader = createClient<ServedActors>(remote.url, { token: 'alice' })
    const memory = (): Promise<ServedMemory> => remote.ask({ type: 'memory' })
    await reader.start('ask', asked(name)).result
    const before = await memory()

    const run = reader.start('ask', asked(name), { credit: 2 })
    const events = run[Symbol.asyncIterator]()
    await events.next()
    const { id } = await provider.request(name, 2)
    await provider.stalled(id)
    for (let n = 0; n < SIPS; n++) await events.next()
    const written = await provider.stalled(id)
    const held = await memory()
    console.log(
      `${kind}, client at token ${SIPS}, one by one: provider blocked after ${written.tokens} tokens (${megabytes(written.bytes).toFixed(1)} MB), server heap + external ${growth(before.heap, held.heap)}`,
    )
    expect(megabytes(held.heap - before.heap)).toBeLessThan(KEPT_MB + 4)
    await run.cancel()
    await reader.close()
  })
})

describe('a model with a mock by others', () => {
  const mock = new LLMock({ port: 0, host: '127.0.0.1', logLevel: 'silent' })
  const answer = 'Hi there, this is a longer answer in several chunks.'
  mock.onMessage('hello', { content: answer })
  beforeAll(async () => {
    await mock.start()
  })
  afterAll(() => mock.stop())

  test.each(['openai', 'ollama'] as const)('chats as %s, from the provider to the client', async (kind) => {
    const model =
      kind === 'openai'
        ? openai('gpt-4o', { apiKey: 'mock', baseURL: `${mock.url}/v1`, env: {} })
        : ollama('llama3.2', { host: mock.url, env: {} })
    const actors = { chat: agent({ model }) }
    await using served = await testServer(actors)
    const chatting = createClient<typeof actors>(served.url, { token: 'alice' })
    const run = chatting.start('chat', { prompt: 'hello' })
    const texts = await readAll(run.text())
    expect(texts.length).toBeGreaterThan(1)
    expect(texts.join('')).toBe(answer)
    expect(await run.end).toMatchObject({ outcome: 'done', stop: 'stop' })
    const stopped = chatting.start('chat', 'hello')
    for await (const _ of stopped.text()) break
    expect(await stopped.end).toMatchObject({ outcome: expect.stringMatching(/cancelled|done/) })
    await chatting.close()
  })
})
