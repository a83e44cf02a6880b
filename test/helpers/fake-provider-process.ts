/**
 * The fake provider's own process: OpenAI's chat completions and Ollama's chat on one port. It runs apart from the
 * tests so that its clock, its sockets and its backpressure are not theirs.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { asChild } from './child-process.ts'
import {
  type Behaviour,
  type ProviderCommand,
  type ProviderReport,
  type Written,
  wallMs,
} from './fake-provider-wire.ts'

const behaviours = new Map<string, Behaviour[]>()
const counts = new Map<string, number>()
const answers = new Map<number, Answer>()
let lastId = 0

/** How one provider writes what it says. */
type Dialect = {
  contentType: string
  text(text: string): string
  thinking(text: string): string
  call(index: number, id: string | null, name: string, args: string): string[]
  end(finish: string, usage: { input: number; output: number } | undefined): string
  error(error: unknown): string
  broken: string
}

const openai: Dialect = {
  contentType: 'text/event-stream',
  text: (text) => event({ choices: [{ index: 0, delta: { content: text } }] }),
  thinking: (text) => event({ choices: [{ index: 0, delta: { reasoning_content: text } }] }),
  call: (index, id, name, args) => {
    const piece = (call: object): string =>
      event({ choices: [{ index: 0, delta: { tool_calls: [{ index, ...call }] } }] })
    return [
      piece({ ...(id !== null && { id }), type: 'function', function: { name, arguments: '' } }),
      ...(args.match(/.{1,6}/gs) ?? []).map((text) => piece({ function: { arguments: text } })),
    ]
  },
  end: (finish, usage) =>
    event({ choices: [{ index: 0, delta: {}, finish_reason: finish }] }) +
    (usage
      ? event({
          choices: [],
          usage: {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            prompt_tokens_details: { cached_tokens: 3 },
            completion_tokens_details: { reasoning_tokens: 2 },
          },
        })
      : '') +
    'data: [DONE]\n\n',
  error: (error) => event({ error }),
  broken: 'data: {"choices":[{"delta"\n\n',
}

const ollama: Dialect = {
  contentType: 'application/x-ndjson',
  text: (text) => line({ message: { role: 'assistant', content: text }, done: false }),
  thinking: (text) => line({ message: { role: 'assistant', content: '', thinking: text }, done: false }),
  call: (_index, _id, name, args) => {
    const call = { function: { name, arguments: JSON.parse(args) as unknown } }
    return [line({ message: { role: 'assistant', content: '', tool_calls: [call] }, done: false })]
  },
  end: (finish, usage) =>
    line({
      message: { role: 'assistant', content: '' },
      done: true,
      done_reason: finish,
      ...(usage && { prompt_eval_count: usage.input, eval_count: usage.output, total_duration: 5 }),
    }),
  error: (error) => line({ error }),
  broken: '{"message":{"con\n',
}

function event(chunk: object): string {
  return `data: ${JSON.stringify(chunk)}\n\n`
}

function line(chunk: object): string {
  return `${JSON.stringify(chunk)}\n`
}

/** One response on its way. */
class Answer {
  readonly id: number = ++lastId
  readonly #response: ServerResponse
  readonly #dialect: Dialect
  readonly #key: string
  #bytes = 0
  #tokens = 0
  #blocked = false
  #gone = false
  #wake: () => void = () => {}
  release: () => void = () => {}

  constructor(response: ServerResponse, dialect: Dialect, key: string) {
    this.#response = response
    this.#dialect = dialect
    this.#key = key
    response.on('error', () => {})
    response.on('drain', () => this.#wake())
    response.on('close', () => {
      this.#gone = true
      this.#wake()
      this.release()
      report({ type: 'closed', id: this.id, at: wallMs(), whole: response.writableFinished, ...this.written })
    })
  }

  get written(): Written {
    return { bytes: this.#bytes, tokens: this.#tokens, blocked: this.#blocked }
  }

  async give(behaviour: Behaviour): Promise<void> {
    const { hold, status, thinking = [], calls = [], everyMs = 0, end = 'proper' } = behaviour
    const response = this.#response
    if (hold === 'headers') await this.#hold(hold)
    if (behaviour.chunks !== undefined) {
      response.writeHead(status ?? 200, { 'content-type': behaviour.contentType, ...behaviour.headers })
      for (const chunk of behaviour.chunks) await this.#write(chunk, behaviour)
      response.end()
      return
    }
    if (status !== undefined) {
      const words = `no: the key ${this.#key} of ${response.req.headers.host ?? ''} is not welcome`
      const error = behaviour.error ?? (this.#dialect === openai ? { message: words } : words)
      response.writeHead(status, { 'content-type': 'application/json', ...behaviour.headers })
      response.end(JSON.stringify({ error }))
      return
    }
    response.writeHead(200, { 'content-type': this.#dialect.contentType })
    response.flushHeaders()
    report({ type: 'headers', id: this.id, at: wallMs() })
    if (hold === 'first-token') await this.#hold(hold)

    for (const text of thinking) await this.#write(this.#dialect.thinking(text), behaviour)
    const total = behaviour.texts?.length ?? behaviour.tokens ?? 0
    for (let n = 0; n < total && !this.#gone; n++) {
      const text = behaviour.texts?.[n] ?? `t${n} `.padEnd(behaviour.tokenBytes ?? 0, '.')
      if (n > 0 && everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs))
      this.#tokens++
      await this.#write(this.#dialect.text(text), behaviour)
      if (n === 0) {
        report({ type: 'token', id: this.id, at: wallMs() })
        if (behaviour.malformed) await this.#write(this.#dialect.broken, behaviour)
        if (behaviour.badUtf8) await this.#write(Buffer.from(this.#dialect.text('\xff\xfe'), 'latin1'), behaviour)
      }
    }
    if (behaviour.raw !== undefined) await this.#write(Buffer.from(behaviour.raw, 'latin1'), behaviour)
    if (hold === 'tokens') await this.#hold(hold)
    for (const [index, { name, args, id = `call_fake_${index}` }] of calls.entries()) {
      const pieces = this.#dialect.call(index, id, name, args)
      for (const [n, piece] of pieces.entries()) {
        await this.#write(piece, behaviour)
        if (hold === 'args' && n === Math.floor(pieces.length / 2)) await this.#hold(hold)
      }
    }
    if (hold === 'end') await this.#hold(hold)
    await this.#end(end, behaviour)
  }

  async #end(end: NonNullable<Behaviour['end']>, behaviour: Behaviour): Promise<void> {
    switch (end) {
      case 'proper': {
        const usage = behaviour.noUsage ? undefined : { input: 11, output: this.#tokens }
        await this.#write(this.#dialect.end(behaviour.finish ?? 'stop', usage), behaviour)
        break
      }
      case 'error':
        await this.#write(this.#dialect.error(behaviour.error ?? `the key ${this.#key} failed`), behaviour)
        break
      case 'cut':
        this.#response.destroy()
        return
      case 'endless-line': {
        const bytes = this.#dialect === openai ? 'data: ' : '{"'
        await this.#write(bytes, {})
        for (let n = 0; n < 1_024 && !this.#gone; n++) await this.#write('x'.repeat(65_536), {})
        this.#response.destroy()
        return
      }
      case 'no-marker':
        break
    }
    if (behaviour.lateEnd) await new Promise((resolve) => setTimeout(resolve, 10))
    if (behaviour.hold === 'after-end') await this.#hold(behaviour.hold)
    if (this.#gone) return
    this.#response.end()
    report({ type: 'ended', id: this.id, at: wallMs() })
  }

  async #write(text: string | Buffer, { split = false }: Behaviour): Promise<void> {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text
    for (const chunk of split ? bytes.map((_, at) => at) : [undefined]) {
      if (this.#gone) return
      this.#bytes += chunk === undefined ? bytes.length : 1
      if (split) await new Promise((resolve) => setImmediate(resolve))
      if (this.#response.write(chunk === undefined ? bytes : bytes.subarray(chunk, chunk + 1))) continue
      this.#blocked = true
      report({ type: 'blocked', id: this.id, at: wallMs(), ...this.written })
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#blocked = false
      report({ type: 'drained', id: this.id, at: wallMs(), ...this.written })
    }
  }

  #hold(where: string): Promise<void> {
    return new Promise((resolve) => {
      this.release = resolve
      report({ type: 'holding', id: this.id, where, at: wallMs() })
    })
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string
  return text === '' ? undefined : JSON.parse(text)
}

const server = createServer((request, response) => {
  request.socket.setNoDelay(true)
  void (async () => {
    const path = request.url ?? ''
    const dialect = path.startsWith('/v1/') ? openai : ollama
    const answer = new Answer(response, dialect, request.headers.authorization ?? '')
    answers.set(answer.id, answer)
    const body = await bodyOf(request)
    const model = String((body as { model?: unknown } | undefined)?.model)
    const count = counts.get(model) ?? 0
    counts.set(model, count + 1)
    report({ type: 'request', id: answer.id, model, path, body, port: request.socket.remotePort ?? 0, at: wallMs() })
    const list = behaviours.get(model)
    const missing: Behaviour = {
      status: 404,
      error:
        dialect === openai
          ? { message: `The model '${model}' does not exist`, code: 'model_not_found' }
          : `model "${model}" not found, try pulling it first`,
    }
    await answer.give(list?.[Math.min(count, list.length - 1)] ?? missing)
  })().catch((error: unknown) => {
    console.error('the fake provider failed', error)
    process.exit(1)
  })
})

const report: (said: ProviderReport) => void = asChild((command: ProviderCommand) => {
  switch (command.type) {
    case 'behave':
      behaviours.set(command.model, command.answers)
      counts.delete(command.model)
      return undefined
    case 'written':
      return answers.get(command.id)?.written
    case 'count':
      return counts.get(command.model) ?? 0
    case 'release':
      return answers.get(command.id)?.release()
  }
}).report

server.listen(0, '127.0.0.1', () => report({ type: 'listening', port: (server.address() as AddressInfo).port }))
