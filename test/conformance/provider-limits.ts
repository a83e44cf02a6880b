import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { MillraceError } from '../../protocol/errors.ts'
import type { Model, ModelEvent } from '../../server/models/model.ts'
import { ModelFailure } from '../../server/models/model-failure.ts'
import type { ProviderOptions } from '../../server/models/provider/attempts.ts'
import type { ProviderTimeouts } from '../../server/models/provider/timeouts.ts'
import { FakeProvider, wallMs } from '../helpers/fake-provider.ts'
import type { Behaviour } from '../helpers/fake-provider-wire.ts'
import { readToEnd } from '../helpers/read-all.ts'

/** One adapter, made for the fake provider at `host`. */
type Adapter = {
  provider: string
  make(name: string, host: string, options: ProviderOptions): Model
  /** Whether the adapter sends the requests itself, and redirects and `fetch` are its own. Default true. */
  sends?: boolean
}

/** Where Node keeps the dispatcher of its `fetch`. */
const DISPATCHER = Symbol.for('undici.globalDispatcher.1')

/** The time limits of every model that asks a provider over HTTP, and its redirects and the `fetch` that it may be given. */
export function limitsSuite({ provider: name, make, sends = true }: Adapter): void {
  let provider: FakeProvider
  let lastModel = 0
  beforeAll(async () => {
    provider = await FakeProvider.start()
  })
  afterAll(() => provider[Symbol.asyncDispose]())

  async function answered(behaviour: Behaviour, options: ProviderOptions): Promise<{ model: Model; at: string }> {
    const at = `limited-${++lastModel}`
    await provider.behave(at, behaviour)
    return { at, model: make(at, provider.host, options) }
  }

  const stream = (model: Model): AsyncIterator<ModelEvent> =>
    model
      .stream({ messages: [{ role: 'user', content: 'hello' }], signal: new AbortController().signal })
      [Symbol.asyncIterator]()
  const answerOf = (model: Model): Promise<{ events: ModelEvent[]; error?: unknown }> =>
    readToEnd({ [Symbol.asyncIterator]: () => stream(model) })

  describe(`a time limit of ${name}`, () => {
    test.each<[keyof ProviderTimeouts, Behaviour, number]>([
      ['headersMs', { hold: 'headers' }, 0],
      ['firstTokenMs', { hold: 'first-token' }, 0],
      ['betweenTokensMs', { tokens: 2, hold: 'tokens' }, 2],
    ])(
      '%s ends the answer of a silent provider, and the request is not sent again',
      async (limit, behaviour, texts) => {
        const { model, at } = await answered(behaviour, { timeouts: { [limit]: 50 } })
        const { events, error } = await answerOf(model)
        expect(events.map(({ type }) => type)).toEqual(Array.from({ length: texts }, () => 'text'))
        expect(error).toMatchObject({ code: 'provider_error', retryable: true })
        expect((error as Error).message).toContain(`within 0.05 s (timeouts.${limit})`)
        expect((await provider.closed((await provider.request(at)).id)).whole).toBe(false)
        expect(await provider.count(at)).toBe(1)
      },
    )

    test('between tokens does not hold before the first one', async () => {
      const { model, at } = await answered({ hold: 'first-token', tokens: 1 }, { timeouts: { betweenTokensMs: 20 } })
      const answer = answerOf(model)
      const { id } = await provider.request(at)
      const { at: heldAt } = await provider.seen(id, 'holding')
      await vi.waitUntil(() => wallMs() - heldAt > 60)
      await provider.release(id)
      expect((await answer).error).toBeUndefined()
    })

    test('is not used up by a reader that reads slowly', async () => {
      const { model, at } = await answered(
        { tokens: 64_000, tokenBytes: 1_000 },
        { timeouts: { firstTokenMs: 1_000, betweenTokensMs: 30 } },
      )
      const events = stream(model)
      await events.next()
      // Nobody reads until the socket takes no more, which is longer than the limit.
      await provider.stalled((await provider.request(at)).id)
      const stalledAt = wallMs()
      await vi.waitUntil(() => wallMs() - stalledAt > 60)
      expect((await events.next()).done).toBe(false)
      await events.return?.()
    })

    test.each([0, -1, Number.NaN, '5'])('of %s is refused before anything is sent', (headersMs) => {
      expect(() => make('any', provider.host, { timeouts: { headersMs: headersMs as number } })).toThrow(
        'timeouts.headersMs must be',
      )
    })

    test('may be Infinity, or longer than a timer of Node can be', async () => {
      const timeouts = { headersMs: Number.POSITIVE_INFINITY, firstTokenMs: 2 ** 40, betweenTokensMs: 2 ** 31 }
      const { model } = await answered({ tokens: 1 }, { timeouts })
      expect((await answerOf(model)).error).toBeUndefined()
    })
  })

  if (!sends) return

  describe(`a request of ${name}`, () => {
    test("waits as long as its model says, not as Node's own `fetch` would", async () => {
      using _ = impatientNode()
      const { model, at } = await answered({ hold: 'headers', tokens: 1 }, { maxRetries: 0 })
      const answer = answerOf(model)
      const { id } = await provider.request(at)
      const other = `${at}-other`
      await provider.behave(other, { hold: 'headers' })
      const body = JSON.stringify({ model: other })
      const theirs = fetch(`${provider.host}/v1/chat/completions`, { method: 'POST', body })
      await expect(theirs).rejects.toMatchObject({ cause: { code: 'UND_ERR_HEADERS_TIMEOUT' } })
      await provider.release(id)
      expect((await answer).error).toBeUndefined()
    })
  })

  describe(`a redirect of ${name}`, () => {
    const headers = { 'x-secret': 'canary-header' }

    test.each([301, 302, 303, 307, 308])(
      'with status %i to another origin is not followed: nothing of the request goes there',
      async (status) => {
        await using elsewhere = await listening()
        const location = `${elsewhere.url}/v1/elsewhere`
        const { model, at } = await answered({ status, headers: { location } }, { headers })
        const { events, error } = await answerOf(model)
        expect(events).toEqual([])
        expect(error).toMatchObject({ code: 'provider_error', retryable: false })
        expect((error as Error).message).toContain('the provider redirects the request, which is not followed')
        expect((error as Error).message).not.toContain(elsewhere.url)
        expect(new ModelFailure('m', error as MillraceError).body).toContain(`to ${elsewhere.url}`)
        expect(elsewhere.got).toEqual([])
        expect(await provider.count(at)).toBe(1)
      },
    )

    test('within one origin is followed with the whole request', async () => {
      const at = `limited-${++lastModel}`
      await provider.behave(at, { status: 307, headers: { location: '?again=1' } }, { tokens: 1 })
      const { error } = await answerOf(make(at, provider.host, { headers }))
      expect(error).toBeUndefined()
      const [first, second] = [await provider.request(at, 1), await provider.request(at, 2)]
      expect(second.body).toEqual(first.body)
      expect(second.path).toContain('again=1')
    })

    test('in a circle ends', async () => {
      const { model, at } = await answered({ status: 308, headers: { location: '?again=1' } }, {})
      expect((await answerOf(model)).error).toMatchObject({ code: 'provider_error', retryable: false })
      expect(await provider.count(at)).toBe(4)
    })
  })

  describe(`a fetch that the application gives to ${name}`, () => {
    test('sends the requests', async () => {
      const asked: string[] = []
      const { model } = await answered(
        { tokens: 1 },
        {
          fetch: (input, init) => {
            asked.push(new Request(input).url)
            return fetch(input, init)
          },
        },
      )
      expect((await answerOf(model)).error).toBeUndefined()
      expect(asked).toEqual([expect.stringContaining(provider.host)])
    })

    test('that gives up waiting is not asked again, because the provider may still work on it', async () => {
      let asked = 0
      const cause = Object.assign(new Error('Headers Timeout Error'), { code: 'UND_ERR_HEADERS_TIMEOUT' })
      const { model } = await answered(
        { tokens: 1 },
        {
          fetch: () => {
            asked++
            throw new TypeError('fetch failed', { cause })
          },
        },
      )
      const { events, error } = await answerOf(model)
      expect(error).toMatchObject({ code: 'provider_error', retryable: true })
      expect((error as Error).message).toContain('did not answer in time')
      expect(events).toEqual([])
      expect(asked).toBe(1)
    })
  })
}

/** A server that answers every request, and the headers and bodies that it got. */
async function listening(): Promise<AsyncDisposable & { url: string; got: string[] }> {
  const got: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      got.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)} ${body}`)
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    got,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Gives Node's own `fetch` time limits that no held answer keeps. */
function impatientNode(): Disposable {
  // Node loads its `fetch` when one of its classes is looked at.
  expect(Headers).toBeTypeOf('function')
  const node = globalThis as { [DISPATCHER]?: object }
  const usual = node[DISPATCHER]!
  const Agent = usual.constructor as new (limits: object) => object
  node[DISPATCHER] = new Agent({ headersTimeout: 100, bodyTimeout: 100 })
  return {
    [Symbol.dispose]() {
      node[DISPATCHER] = usual
    },
  }
}
