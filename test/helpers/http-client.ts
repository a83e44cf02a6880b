import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text as readAll } from 'node:stream/consumers'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import { Collector } from './collector.ts'
import { PATIENCE_MS } from './patience.ts'

/** A server-sent event, with its id. */
export type SentEvent = { readonly id: string; readonly event: string; readonly data: unknown }

/** An answer in JSON. */
export type Answered = { readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> }

/** A client of a server over plain HTTP. `token` undefined: it sends none. */
export class HttpClient {
  readonly url: string
  readonly #token: string | undefined

  constructor(url: string, token: string | undefined) {
    this.url = url
    this.#token = token
  }

  async request(
    method: string,
    path: string,
    { body, headers }: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    return await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
  }

  /** Sends a request and reads its answer as JSON. */
  async json(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answered> {
    const response = await this.request(method, path, { ...(body === undefined ? {} : { body }), headers })
    const text = await response.text()
    const read = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
    return { status: response.status, headers: response.headers, body: read }
  }

  /** Opens an event stream. @throws Error for any status but 200. */
  async stream(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<StreamReader> {
    const sent = request(`${this.url}${path}`, {
      method,
      agent: false,
      headers: {
        accept: 'text/event-stream',
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
    })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    sent.on('error', () => {})
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}: ${await readAll(response)}`)
    return new StreamReader(response)
  }
}

/** An event stream that is read all the time, unless its response is paused. */
export class StreamReader implements AsyncDisposable {
  readonly response: IncomingMessage
  readonly #came = new Collector<SentEvent>({ patienceMs: PATIENCE_MS })
  /** The end of the body: whether it was complete. */
  readonly over: Promise<'whole' | 'cut'>
  text = ''

  constructor(response: IncomingMessage) {
    this.response = response
    let rest = ''
    response.setEncoding('utf8')
    response.on('error', () => {})
    response.on('data', (text: string) => {
      this.text += text
      rest += text
      for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
        const event = eventOf(rest.slice(0, end))
        rest = rest.slice(end + 2)
        if (event) this.#came.items.push(event)
      }
      this.#came.look()
    })
    this.over = new Promise((resolve) => {
      response.on('close', () => {
        this.#came.end(response.complete ? 'the stream has ended' : 'the stream was cut')
        resolve(response.complete ? 'whole' : 'cut')
      })
    })
  }

  get all(): readonly SentEvent[] {
    return this.#came.items
  }

  /** The events of the run. */
  get events(): (StreamEvent & { id: string })[] {
    return this.all.filter(({ event }) => event === '').map(({ id, data }) => ({ ...(data as StreamEvent), id }))
  }

  /** The text of the answer. */
  get said(): string {
    return this.events.map((event) => (event.type === 'token' ? event.text : '')).join('')
  }

  /** The `opened` event. */
  async opened(): Promise<{ run: string; stream: string; id: string } & Record<string, unknown>> {
    const { data, id } = await this.find(({ event }) => event === 'opened', 'the event `opened`')
    return { ...(data as { run: string; stream: string }), id }
  }

  /** The end of the run. */
  async end(): Promise<RunEnd> {
    const { data } = await this.find(({ event }) => event === 'end', 'the end of the run')
    return data as RunEnd
  }

  async find(match: (event: SentEvent) => boolean, what: string): Promise<SentEvent> {
    return await this.#came.find(() => this.#came.items.find(match), what)
  }

  /** Resolves when `holds`; looked at when something came. */
  async until(holds: () => boolean, what: string): Promise<void> {
    await this.#came.until(holds, what)
  }

  /** Leaves, as a client that closes its socket. */
  leave(): void {
    this.response.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
    await this.over
  }
}

function eventOf(text: string): SentEvent | undefined {
  const fields = { id: '', event: '', data: '' }
  for (const line of text.split('\n')) {
    const [, name, value] = /^(id|event|data): (.*)$/s.exec(line) ?? []
    if (name !== undefined) fields[name as keyof typeof fields] = value ?? ''
  }
  return fields.data === '' ? undefined : { ...fields, data: JSON.parse(fields.data) as unknown }
}

/** Sends literal bytes to a server, and resolves with all that it answers until it closes the connection. */
export async function rawHttp(url: string, bytes: string): Promise<string> {
  const { port } = new URL(url)
  return await new Promise((resolve, reject) => {
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    let answer = ''
    const timer = setTimeout(() => socket.destroy(new Error(`no end of the answer: ${answer}`)), PATIENCE_MS)
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (chunk) => (answer += chunk.toString('latin1')))
    socket.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? undefined : reject(error)))
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
}

/** A connection to a server that has said nothing yet. That the server ends it is no error. */
export function dial(url: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.once('error', reject)
    socket.once('connect', () => resolve(socket))
  })
}
