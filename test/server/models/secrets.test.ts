import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { DownFrame } from '../../../protocol/frames.ts'
import { agent, type Logger, type Model, tool } from '../../../server/index.ts'
import { prometheus } from '../../../server/metrics/prometheus.ts'
import { fromAISDK } from '../../../server/models/ai-sdk.ts'
import { anthropic } from '../../../server/models/anthropic.ts'
import { gemini } from '../../../server/models/gemini.ts'
import { ollama } from '../../../server/models/ollama.ts'
import { openai } from '../../../server/models/openai.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import type { Behaviour } from '../../helpers/fake-provider-wire.ts'
import { sdkModel } from '../../helpers/sdk-model.ts'
import { testServer } from '../../helpers/server.ts'
import { stderrOf } from '../../helpers/stderr.ts'

// As keys are: the AI SDK does not tell its key, so only its form gives it away.
const KEY = 'sk-canary-key-7c1f0b'
const HEADER = 'canary-header-3f9c'
const PROMPT = 'canary-prompt-77ab'
const SECRET = /canary-(?:key|header|prompt)/

/** Headers in which a key may come, for the provider that takes none. */
const headers = { 'x-own-key': HEADER }

const timeouts = { headersMs: 1_000, firstTokenMs: 1_000, betweenTokensMs: 1_000 }
const given = { apiKey: KEY, headers, env: {}, maxRetries: 1, timeouts }

const adapters: [name: string, make: (name: string, host: string) => Model][] = [
  ['openai', (name, host) => openai(name, { ...given, baseURL: `${host}/v1` })],
  ['openai responses', (name, host) => openai(name, { ...given, api: 'responses', baseURL: `${host}/v1` })],
  ['anthropic', (name, host) => anthropic(name, { ...given, baseURL: host })],
  ['gemini', (name, host) => gemini(name, { ...given, baseURL: host })],
  [
    'ollama',
    (name, host) => {
      const { apiKey, ...rest } = given
      return ollama(name, { ...rest, headers: { ...headers, authorization: `Bearer ${apiKey}` }, host })
    },
  ],
  ['the AI SDK', (name, host) => fromAISDK(sdkModel(name, host, KEY), { maxRetries: 1, timeouts })],
]

const echo = `the key ${KEY} of Bearer ${HEADER} and the words ${PROMPT}`
const soon = { 'retry-after': '0' }
const faults: [what: string, behaviour: Behaviour][] = [
  ...[300, 307, 400, 401, 402, 403, 404, 413, 418, 429, 500, 503, 529].map((status): [string, Behaviour] => [
    `status ${status}`,
    { status, headers: { ...soon, location: `http://127.0.0.1:1/${KEY}` } },
  ]),
  ['an error that repeats all it was sent', { status: 400, error: echo }],
  ['an error in the answer', { tokens: 2, end: 'error', error: echo }],
  ['an error before the answer', { end: 'error', error: { message: echo, code: KEY, type: KEY } }],
  ['silence before the headers', { hold: 'headers' }],
  ['silence in the answer', { tokens: 1, hold: 'tokens' }],
  ['a cut', { tokens: 2, end: 'cut' }],
  ['no end', { tokens: 2, end: 'no-marker' }],
  ['malformed lines', { raw: `data: {"${echo}\n\n${echo}\n{"${echo}\n`, tokens: 2 }],
  ['an unknown end', { tokens: 1, finish: echo }],
  ['a page', { chunks: [`<html>${echo}</html>`], contentType: 'text/html' }],
  ['JSON of another kind', { chunks: [JSON.stringify({ detail: echo })], contentType: 'application/json' }],
  ['a tool that is not there', { calls: [{ name: KEY, args: '{}', id: KEY }], finish: 'tool_calls' }],
]

let provider: FakeProvider
beforeAll(async () => {
  provider = await FakeProvider.start()
})
afterAll(() => provider[Symbol.asyncDispose]())

describe.each(adapters)('keys and prompts of a request to %s', (name, make) => {
  test('are in no log, no metric, no error and no frame, whatever the provider answers', async () => {
    const records: unknown[] = []
    const errors: unknown[] = []
    const write = (fields: object, message?: string): void => void records.push([fields, message])
    const logger: Logger = { debug: write, info: write, warn: write, error: write }
    const look = tool({ description: 'Looks', input: z.object({}), run: () => 'ok' })
    const at = (n: number): string => `${name.replaceAll(' ', '-')}-${n}`
    const actors = Object.fromEntries(
      faults.map((_, n) => [`chat${n}`, agent({ model: make(at(n), provider.host), tools: { look } })]),
    )
    const metrics = prometheus()
    let frames: readonly DownFrame[] = []
    let scraped = ''
    const printed = await stderrOf(async () => {
      await using server = await testServer(actors, { logger, metrics, onError: (error) => errors.push(error) })
      await using client = await server.client()
      // All at once: most of the time goes by in the waits of retries and time limits.
      await Promise.all(
        faults.map(async ([, behaviour], n) => {
          await provider.behave(at(n), behaviour, { tokens: 1 })
          client.start(n + 1, `chat${n}`, PROMPT)
          await client.next('end', n + 1)
        }),
      )
      frames = client.frames
      scraped = (await metrics.text()).text
    })
    for (const [n, [what]] of faults.entries()) {
      expect(await provider.count(at(n)), what).toBeGreaterThan(0)
      // What the model itself says is the answer: readers get it.
      const said = frames.filter((frame) => 'sid' in frame && frame.sid === n + 1)
      if (what !== 'a tool that is not there') expect(JSON.stringify(said), what).not.toMatch(SECRET)
    }
    expect(JSON.stringify(frames.filter((frame) => !('sid' in frame)))).not.toMatch(SECRET)
    expect(scraped).toContain('millrace_')
    expect(scraped).not.toMatch(SECRET)
    expect(printed + inspect(records, { depth: 10, maxArrayLength: null })).not.toMatch(SECRET)
    // The operator sees what the provider said, without keys.
    expect(inspect(errors, { depth: 10, maxArrayLength: null })).not.toMatch(/canary-(?:key|header)/)
    expect(records.length).toBeGreaterThan(faults.length)
  })
})
