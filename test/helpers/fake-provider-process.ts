/**
 * The fake provider's own process: the APIs of several providers on one port. It runs apart from the tests so that its
 * clock, its sockets and its backpressure are not theirs. It refuses requests that a strict provider refuses.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { asChild } from './child-process.ts'
import { type Dialect, dialectOf, modelOf, type Writer, writerOf } from './fake-dialects.ts'
import {
  type Behaviour,
  type ProviderCommand,
  type ProviderReport,
  type Written,
  wallMs,
} from './fake-provider-wire.ts'
import { problemIn } from './strict-request.ts'

const behaviours = new Map<string, Behaviour[]>()
const counts = new Map<string, number>()
const answers = new Map<number, Answer>()
let lastId = 0

/** One response on its way. */
class Answer {
  readonly id: number = ++lastId
  readonly #response: ServerResponse
  readonly #dialect: Dialect
  readonly #writer: Writer
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
    this.#writer = writerOf(dialect)
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
      const error = behaviour.error ?? (this.#dialect === 'openai' ? { message: words } : words)
      response.writeHead(status, { 'content-type': 'application/json', ...behaviour.headers })
      response.end(JSON.stringify(this.#writer.refusal(error)))
      return
    }
    response.writeHead(200, { 'content-type': this.#writer.contentType })
    response.flushHeaders()
    report({ type: 'headers', id: this.id, at: wallMs() })
    if (hold === 'first-token') await this.#hold(hold)

    for (const text of thinking) await this.#write(this.#writer.thinking(text), behaviour)
    const total = behaviour.texts?.length ?? behaviour.tokens ?? 0
    for (let n = 0; n < total && !this.#gone; n++) {
      const text = behaviour.texts?.[n] ?? `t${n} `.padEnd(behaviour.tokenBytes ?? 0, '.')
      if (n > 0 && everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs))
      this.#tokens++
      await this.#write(this.#writer.text(text), behaviour)
      if (n === 0) {
        report({ type: 'token', id: this.id, at: wallMs() })
        if (behaviour.malformed) await this.#write(this.#writer.broken, behaviour)
        if (behaviour.badUtf8) await this.#write(Buffer.from(this.#writer.text('\xff\xfe'), 'latin1'), behaviour)
      }
    }
    if (behaviour.raw !== undefined) await this.#write(Buffer.from(behaviour.raw, 'latin1'), behaviour)
    if (hold === 'tokens') await this.#hold(hold)
    for (const [index, { name, args, id = `call_fake_${index}` }] of calls.entries()) {
      const pieces = this.#writer.call(index, id, name, args)
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
        await this.#write(this.#writer.end(behaviour.finish ?? 'stop', usage), behaviour)
        break
      }
      case 'error':
        await this.#write(this.#writer.error(behaviour.error ?? `the key ${this.#key} failed`), behaviour)
        break
      case 'cut':
        this.#response.destroy()
        return
      case 'endless-line': {
        await this.#write(this.#writer.lineStart, {})
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
    for (const chunk of split ? bytes.keys() : [undefined]) {
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
    const dialect = dialectOf(path)
    const key = request.headers.authorization ?? request.headers['x-goog-api-key'] ?? ''
    const answer = new Answer(response, dialect, String(key))
    answers.set(answer.id, answer)
    const body = await bodyOf(request)
    const model = modelOf(path, body)
    const count = counts.get(model) ?? 0
    counts.set(model, count + 1)
    report({ type: 'request', id: answer.id, model, path, body, port: request.socket.remotePort ?? 0, at: wallMs() })
    const list = behaviours.get(model)
    const missing: Behaviour = {
      status: 404,
      error:
        dialect === 'openai'
          ? { message: `The model '${model}' does not exist`, code: 'model_not_found' }
          : `model "${model}" not found, try pulling it first`,
    }
    const problem = list && problemIn(dialect, body)
    if (problem !== undefined) await answer.give({ status: 400, error: `refused: ${problem}` })
    else await answer.give(list?.[Math.min(count, list.length - 1)] ?? missing)
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
