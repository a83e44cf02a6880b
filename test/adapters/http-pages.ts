import OpenAI from 'openai'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import {
  cancelOverHttp,
  type Ending,
  HEADERS,
  httpUrl,
  type Page,
  type PageClient,
  type PageReading,
  reading,
  Shown,
  TOKEN,
} from './page-client.ts'

/** A stream of a run over HTTP that a page reads: what was shown before, and where it goes on. */
type Kept<Position> = { readonly shown: Shown; run: string; position: Position }

/** Reads to the end, or until the page leaves. */
function follow(
  shown: Shown,
  leaving: AbortController,
  read: () => Promise<Ending>,
  stop: () => void = () => leaving.abort(),
): PageReading {
  const over = read().catch((error: unknown): Ending => {
    if (leaving.signal.aborted) return 'left'
    throw error
  })
  over.catch(() => {})
  return reading(shown, over, stop, async () => leaving.abort())
}

/** The events of a response as they come, with their ids. */
async function* sentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<{ [field: string]: string }> {
  let rest = ''
  const utf8 = new TextDecoder()
  for await (const bytes of body) {
    const blocks = (rest + utf8.decode(bytes, { stream: true })).split('\n\n')
    rest = blocks.pop()!
    for (const block of blocks)
      yield Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]))
  }
}

/** `fetch` and the paths of plain HTTP. A page that comes back sends the id of the last event that it has. */
export function plainHttp(): PageClient {
  const chats = new Map<string, Kept<string>>()

  const read = (
    page: Page,
    kept: Kept<string>,
    path: string,
    init: { method?: string; body?: string; headers: Record<string, string> },
  ): PageReading => {
    const { shown } = kept
    const leaving = new AbortController()
    const headers = { ...HEADERS, ...init.headers, accept: 'text/event-stream' }
    const all = async (): Promise<Ending> => {
      const response = await fetch(`${httpUrl(page)}${path}`, { ...init, headers, signal: leaving.signal })
      for await (const { event, id, data } of sentEvents(response.body!)) {
        const said = JSON.parse(data ?? '{}') as StreamEvent & RunEnd & { run: string }
        if (event === 'opened') kept.run = said.run
        if (event === 'end') return said.outcome
        if (event === undefined && said.type === 'token' && said.agent === undefined) shown.text += said.text
        kept.position = id ?? kept.position
        await shown.passed()
      }
      throw new Error('the stream ended without an end')
    }
    return follow(shown, leaving, all, () => cancelOverHttp(page, kept.run))
  }

  return {
    name: 'plain HTTP',
    async start(page) {
      const kept = { shown: new Shown(), run: '', position: '' }
      chats.set(page.chat, kept)
      const body = JSON.stringify({ actor: page.actor, input: 'go', meta: { chat: page.chat } })
      return read(page, kept, '/runs', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    },
    async resume(page) {
      const kept = chats.get(page.chat)!
      return read(page, kept, `/runs/${kept.run}/events`, { headers: { 'last-event-id': kept.position } })
    },
  }
}

function openAi(page: Page): OpenAI {
  const headers = page.comesBack ? { 'Millrace-Disconnect': 'detach' } : {}
  return new OpenAI({ apiKey: TOKEN, baseURL: `${httpUrl(page)}/v1`, maxRetries: 0, defaultHeaders: headers })
}

type ResponseStream = AsyncIterable<OpenAI.Responses.ResponseStreamEvent>

/** Shows a response, and returns how it ended. */
async function takeResponse(stream: ResponseStream, kept: Kept<number>): Promise<Ending> {
  const { shown } = kept
  for await (const event of stream) {
    kept.position = event.sequence_number
    if (event.type === 'response.created') kept.run = event.response.id
    if (event.type === 'response.output_text.delta') shown.text += event.delta
    if (event.type === 'response.completed') return 'done'
    if (event.type === 'response.failed') return 'error'
    if (event.type === 'response.incomplete') return event.response.status === 'cancelled' ? 'cancelled' : 'error'
    await shown.passed()
  }
  return 'left'
}

/**
 * Responses of the package `openai`. One in the background is cancelled by its id, and another one by leaving it.
 */
export function openAiResponses(background: boolean): PageClient {
  const chats = new Map<string, Kept<number>>()
  return {
    name: `openai's Responses${background ? ' in the background' : ''}`,
    async start(page) {
      const kept = { shown: new Shown(), run: '', position: -1 }
      chats.set(page.chat, kept)
      const openai = openAi(page)
      const leaving = new AbortController()
      const asked = { model: page.actor, input: 'go', metadata: { chat: page.chat }, background, stream: true } as const
      const stream = await openai.responses.create(asked, { signal: leaving.signal })
      const stop = background ? () => void openai.responses.cancel(kept.run) : undefined
      return follow(kept.shown, leaving, () => takeResponse(stream, kept), stop)
    },
    resume: (page) => resumeResponse(page, chats.get(page.chat)!, chats.get(page.chat)!.position),
  }
}

async function resumeResponse(page: Page, kept: Kept<number>, after?: number): Promise<PageReading> {
  const leaving = new AbortController()
  const query = { stream: true, ...(after !== undefined && { starting_after: after }) } as const
  const stream = await openAi(page).responses.retrieve(kept.run, query, { signal: leaving.signal })
  return follow(kept.shown, leaving, () => takeResponse(stream, kept))
}

/**
 * Chat completions of the package `openai`. They have no numbers to go on from: a page that comes back shows the response
 * of the same id from its beginning.
 */
export function openAiChat(): PageClient {
  const chats = new Map<string, Kept<number>>()
  return {
    name: "openai's chat completions",
    async start(page) {
      const kept = { shown: new Shown(), run: '', position: -1 }
      chats.set(page.chat, kept)
      const leaving = new AbortController()
      const stream = await openAi(page).chat.completions.create(
        {
          ...{ model: page.actor, metadata: { chat: page.chat }, stream: true },
          messages: [{ role: 'user', content: 'go' }],
        },
        { signal: leaving.signal },
      )
      const { shown } = kept
      const all = async (): Promise<Ending> => {
        try {
          for await (const { id, choices } of stream) {
            kept.run = id
            shown.text += choices[0]?.delta.content ?? ''
            if (choices[0]?.finish_reason) return choices[0].finish_reason === 'stop' ? 'done' : 'error'
            await shown.passed()
          }
        } catch (error) {
          if (error instanceof OpenAI.APIError) return error.code === 'cancelled' ? 'cancelled' : 'error'
          throw error
        }
        return 'left'
      }
      return follow(shown, leaving, all)
    },
    resume(page) {
      const kept = { shown: new Shown(), run: chats.get(page.chat)!.run, position: -1 }
      return resumeResponse(page, kept)
    },
  }
}
