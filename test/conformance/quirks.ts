import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Message, tool } from '../../server/index.ts'
import type { Model, ModelEvent } from '../../server/models/model.ts'
import { servedAgent } from '../helpers/agent-run.ts'
import type { Dialect } from '../helpers/fake-dialects.ts'
import { FakeProvider } from '../helpers/fake-provider.ts'
import type { Behaviour } from '../helpers/fake-provider-wire.ts'
import { checkConversation } from '../helpers/strict-conversation.ts'
import { problemIn } from '../helpers/strict-request.ts'

/** A response of a provider. The forms `events` and `lines` are shorthands for bytes. */
type Response = {
  /** Server-sent events, one `data:` each. A string is sent as it is, everything else as JSON. */
  events?: unknown[]
  /** Newline-delimited JSON. A string is sent as it is, everything else as JSON. */
  lines?: unknown[]
  /** Chunks of the body, byte for byte. */
  bytes?: string[]
  /** Default: that of the dialect. */
  contentType?: string
  /** Default 200. */
  status?: number
}

/** One quirk of a provider: a file in `quirks/`. Each adapter for which it has a response is tested with it. */
type Quirk = {
  /** A whole sentence about the behaviour. */
  title: string
  /** What the provider sends, by the dialect that it speaks. */
  sends: Partial<Record<Dialect, Response>>
  /** Options of the adapter. Default: none. */
  options?: { thinkTags?: boolean | 'open' }
  /**
   * All events of the model, in order. `"*"` as the id of a call stands for any id. Pieces of arguments are compared
   * only if the list has some.
   */
  says: ModelEvent[]
  /** The members of the error with which the answer ends. Default: it ends without one. */
  error?: { code: string; retryable?: boolean; message?: string }
  /** Members of the second message of the next request, which repeats the answer, by dialect. Default: not compared. */
  sendsBack?: Partial<Record<Dialect, object>>
}

/** One adapter, made for the fake provider. */
type Adapter = {
  dialect: Dialect
  make(name: string, host: string, options: { maxRetries: number; thinkTags?: boolean | 'open' }): Model
}

const folder = new URL('quirks/', import.meta.url)
const quirks = readdirSync(folder)
  .sort()
  .map((file) => [file.replace('.json', ''), quirkIn(file)] as const)

function quirkIn(file: string): Quirk {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Quirk
}

/** Sends every quirk of the adapter's dialect through its real client library and a real socket. */
export function quirkSuite({ dialect, make }: Adapter): void {
  let provider: FakeProvider
  beforeAll(async () => {
    provider = await FakeProvider.start()
  })
  afterAll(() => provider[Symbol.asyncDispose]())

  const weather = tool({
    description: 'The weather in a city',
    input: z.object({ city: z.string() }),
    run: ({ city }) => `rain in ${city}`,
  })
  const now = tool({ description: 'The time', run: () => 'noon' })

  describe(`${dialect}, for a quirk of a provider,`, () => {
    for (const [name, quirk] of quirks) {
      const response = quirk.sends[dialect]
      if (!response) continue
      const behaviour = behaviourOf(response, dialect)

      test(`${name}: ${quirk.title}`, async () => {
        await provider.behave(name, behaviour)
        const model = make(name, provider.host, { maxRetries: 0, ...quirk.options })
        const { events, error } = await answerOf(model)
        const showsArgs = quirk.says.some(({ type }) => type === 'tool.args')
        expect(events.filter(({ type }) => showsArgs || type !== 'tool.args')).toEqual(quirk.says.map(anyId))
        if (quirk.error === undefined) expect(error).toBeUndefined()
        else expect(error).toMatchObject({ name: 'MillraceError', ...quirk.error })
        const ids = events.filter((event) => event.type === 'tool.call').map(({ call }) => call)
        expect(new Set(ids).size).toBe(ids.length)
        // Arguments are shown under the id of a call that follows, unless the answer was cut.
        const shown = events.filter((event) => event.type === 'tool.args').map(({ call }) => call)
        const last = events.at(-1)
        if (last?.type === 'finish' && last.stop !== 'length') expect(ids).toEqual(expect.arrayContaining(shown))
      })

      if (!quirk.says.some(({ type }) => type === 'tool.call')) continue
      test(`${name}: a strict server accepts the next request, and the conversation is whole`, async () => {
        const at = `${name}, next`
        await provider.behave(at, behaviour, { texts: ['done'] })
        const model = make(at, provider.host, { maxRetries: 0, ...quirk.options })
        let handed: Message[] = []
        await using served = await servedAgent({
          model,
          tools: { weather, now },
          onFinish: (all) => void (handed = all),
        })
        await served.client.start('agent', 'go').result
        const { body } = await provider.request(at, 2)
        expect(problemIn(dialect, body)).toBeUndefined()
        checkConversation(handed)
        const back = quirk.sendsBack?.[dialect]
        if (back) expect((body as { messages: unknown[] }).messages[1]).toMatchObject(back)
      })
    }
  })
}

function behaviourOf({ events, lines, bytes, contentType, status }: Response, dialect: Dialect): Behaviour {
  const chunks = [
    ...(events ?? []).map((data) => `data: ${textOf(data)}\n\n`),
    ...(lines ?? []).map((line) => `${textOf(line)}\n`),
    ...(bytes ?? []),
  ]
  const usual = dialect === 'ollama' ? 'application/x-ndjson' : 'text/event-stream'
  return { chunks, contentType: contentType ?? usual, ...(status !== undefined && { status }) }
}

function textOf(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data)
}

function anyId(event: ModelEvent): object {
  return 'call' in event && event.call === '*' ? { ...event, call: expect.stringMatching(/./) } : event
}

async function answerOf(model: Model): Promise<{ events: ModelEvent[]; error?: unknown }> {
  const { signal } = new AbortController()
  const events: ModelEvent[] = []
  try {
    for await (const event of model.stream({ messages: [{ role: 'user', content: 'go' }], signal })) events.push(event)
    return { events }
  } catch (error) {
    return { events, error }
  }
}
