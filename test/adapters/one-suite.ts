import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { actor, agent } from '../../server/index.ts'
import { openai } from '../../server/models/openai.ts'
import { FakeProvider, wallMs } from '../helpers/fake-provider.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import type { Page, PageClient, PageReading } from './page-client.ts'

/** Tokens of the run that is cut, and after how many each cut comes. */
const TOKENS = 42
const CUT_EVERY = 7
const WHOLE = Array.from({ length: TOKENS }, (_, n) => `${n} `).join('')

/** What every client of a run must do: stop, come back, hold the run back, and report its one end. */
export function oneSuite(clients: readonly PageClient[]): void {
  describe('a run, read by', () => {
    let provider: FakeProvider
    let server: TestServer<ReturnType<typeof actorsOf>>
    /** How many tokens of the counted run may be said, and who waits for more. */
    const allowed = { tokens: 0, more: (): void => {} }
    let chats = 0
    /** How many requests the provider has had for each model. */
    const requests = { answer: 0, flood: 0 }

    function actorsOf(baseURL: string) {
      const model = (name: string) => agent({ model: openai(name, { baseURL, apiKey: 'key' }) })
      return {
        answer: model('answer'),
        flood: model('flood'),
        counted: actor({
          async *stream(_input, { signal }) {
            signal.addEventListener('abort', () => allowed.more())
            for (let n = 0; n < TOKENS; n++) {
              while (n >= allowed.tokens && !signal.aborted)
                await new Promise<void>((resolve) => (allowed.more = resolve))
              signal.throwIfAborted()
              yield `${n} `
            }
          },
        }),
        hello: actor({
          async *stream() {
            yield 'hello'
          },
        }),
        failing: actor({
          async *stream() {
            yield 'so far'
            throw new Error('broken')
          },
        }),
      }
    }

    const pageOf = (name: keyof ReturnType<typeof actorsOf>): Page => ({
      ...{ url: server.url, actor: name, chat: `chat-${++chats}` },
    })
    const shows = (reading: PageReading, text: string) =>
      eventually(() => reading.text.includes(text), `${text} was shown; there is ${reading.text.slice(-100)}`)
    /** The run of a chat, as another client of the same person sees it. */
    const endOf = async ({ url, actor, chat }: Page) => {
      const other = createClient(url, { token: 'alice' })
      const run = (await other.runs()).find(({ meta }) => meta?.['chat'] === chat)
      const end = await other.attach(actor, run!.id).end
      await other.close()
      return end
    }

    beforeAll(async () => {
      provider = await FakeProvider.start()
      server = await testServer(actorsOf(provider.baseURL), {
        http: true,
        limits: { startsPerSec: 1_000, startBurst: 1_000 },
      })
    })
    afterAll(async () => {
      await server[Symbol.asyncDispose]()
      await provider[Symbol.asyncDispose]()
    })

    for (const client of clients) describe(client.name, () => behaves(client))

    function behaves(client: PageClient): void {
      const pages: PageReading[] = []
      const open = async (how: 'start' | 'resume', page: Page): Promise<PageReading> => {
        const opened = await client[how](page)
        pages.push(opened)
        return opened
      }
      afterAll(async () => {
        for (const page of pages) await page.drop()
        await client.close?.()
      })

      test('a stop closes the socket of the provider, and the end is no success', async () => {
        await provider.behave('answer', { tokens: 100_000, everyMs: 1 })
        const page = pageOf('answer')
        const reading = await open('start', page)
        await shows(reading, 't3 ')
        const { id } = await provider.request('answer', ++requests.answer)
        const stoppedAt = wallMs()
        reading.stop()
        const { at, whole } = await provider.closed(id)
        console.log(`${client.name}: the stop closed the provider's socket after ${(at - stoppedAt).toFixed(1)} ms`)
        expect(whole).toBe(false)
        expect(['cancelled', 'left']).toContain(await reading.over)
        const end = await endOf(page)
        expect(end).toMatchObject({ outcome: 'cancelled', receipt: { provider: 'closed', settled: true } })
      })

      test(`nothing is lost or doubled when the page is gone after every ${CUT_EVERY}th event`, async () => {
        const page: Page = { ...pageOf('counted'), comesBack: true }
        allowed.tokens = CUT_EVERY
        let reading = await open('start', page)
        for (let n = CUT_EVERY; n < TOKENS; n += CUT_EVERY) {
          await shows(reading, ` ${n - 1} `)
          await reading.drop()
          reading = await open('resume', page)
          allowed.tokens = n + CUT_EVERY
          allowed.more()
          await shows(reading, ` ${n} `)
        }
        expect(await reading.over).toBe('done')
        expect(reading.text).toBe(WHOLE)
      })

      test('a page that takes nothing more stops the provider, and goes on when it does', async () => {
        await provider.behave('flood', { tokens: 1_000_000, tokenBytes: 8_192 })
        const reading = await open('start', pageOf('flood'))
        await shows(reading, 't3 ')
        reading.hold()
        const { id } = await provider.request('flood', ++requests.flood)
        await provider.stalled(id)
        const held = reading.text.length
        reading.go()
        await eventually(() => reading.text.length > held, 'the page went on')
        reading.stop()
        await provider.closed(id)
        await reading.drop()
      })

      test('the end is what it was: done, failed, or cancelled by somebody else', async () => {
        const hello = await open('start', pageOf('hello'))
        expect(await hello.over).toBe('done')
        expect(hello.text).toBe('hello')
        const failing = await open('start', pageOf('failing'))
        expect(await failing.over).toBe('error')
        const page = pageOf('counted')
        allowed.tokens = 3
        const counted = await open('start', page)
        await shows(counted, '2 ')
        const other = createClient(server.url, { token: 'alice' })
        const run = (await other.runs()).find(({ meta }) => meta?.['chat'] === page.chat)
        await other.attach('counted', run!.id).cancel()
        expect(await counted.over).toBe('cancelled')
        await other.close()
      })
    }
  })
}
