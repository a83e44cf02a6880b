import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Behaviour, Order, Report, Written } from './fake-provider-wire.ts'

export { wallMs } from './fake-provider-wire.ts'

type Seen<Type extends Report['type']> = Extract<Report, { type: Type }>
type RequestReport = Exclude<Report, { type: 'listening' | 'answer' }>

/** A request as the provider saw it. `at`: `wallMs` of its arrival. */
export type SeenRequest = Seen<'request'>

/**
 * A model provider under a test's control, in a process of its own on 127.0.0.1. It records when it was asked, what it
 * could write and when its response's socket closed; every method that waits waits for the event itself.
 */
export class FakeProvider implements AsyncDisposable {
  /** With `/v1`, for OpenAI's package. */
  readonly baseURL: string
  /** For Ollama's package. */
  readonly host: string
  readonly #child: ChildProcess
  readonly #reports: RequestReport[] = []
  readonly #waiting = new Set<(report: RequestReport) => void>()
  readonly #calls = new Map<number, (value: unknown) => void>()
  #lastCall = 0

  static async start(): Promise<FakeProvider> {
    const script = fileURLToPath(new URL('fake-provider-process.ts', import.meta.url))
    const child = fork(script, {
      execArgv: ['--import', 'tsx'],
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { PATH: process.env['PATH'] },
    })
    const [first] = (await once(child, 'message')) as [Seen<'listening'>]
    return new FakeProvider(child, first.port)
  }

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.host = `http://127.0.0.1:${port}`
    this.baseURL = `${this.host}/v1`
    child.on('message', (message) => this.#take(message as Report))
  }

  /** From now on requests for `model` are answered so: the first by the first, and by the last once there are no more. */
  async behave(model: string, ...answers: Behaviour[]): Promise<void> {
    await this.#order({ type: 'behave', model, answers })
  }

  /** The `n`th request for `model` (from 1), once it has arrived. */
  async request(model: string, n = 1): Promise<SeenRequest> {
    let seen = 0
    return this.#until((report): report is SeenRequest => {
      return report.type === 'request' && report.model === model && ++seen === n
    })
  }

  /** How many requests for `model` have arrived, as the provider knows now. */
  async count(model: string): Promise<number> {
    return (await this.#order({ type: 'count', model })) as number
  }

  /** The first report of that type about a request, once it has come. */
  async seen<Type extends RequestReport['type']>(id: number, type: Type): Promise<Seen<Type>> {
    return this.#until((report): report is Seen<Type> => report.type === type && report.id === id)
  }

  /** The end of a response. `whole` is false when its socket was closed before the response was complete. */
  async closed(id: number): Promise<Seen<'closed'>> {
    return this.seen(id, 'closed')
  }

  /** How much of a response has been written, as the provider knows now. */
  async written(id: number): Promise<Written> {
    return (await this.#order({ type: 'written', id })) as Written
  }

  /** Resolves once the socket takes no more: written stays the same while the provider is asked again and again. */
  async stalled(id: number): Promise<Written> {
    let blocked = 0
    for (;;) {
      let seen = 0
      await this.#until((report): report is RequestReport => {
        return report.id === id && report.type === 'blocked' && ++seen > blocked
      })
      blocked = this.#reports.filter((report) => report.id === id && report.type === 'blocked').length
      const before = await this.written(id)
      let now = before
      for (let n = 0; n < 50 && now.blocked && now.bytes === before.bytes; n++) now = await this.written(id)
      if (now.blocked && now.bytes === before.bytes) return now
    }
  }

  /** Goes on where it holds. */
  async release(id: number): Promise<void> {
    await this.#order({ type: 'release', id })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }

  #take(message: Report): void {
    if (message.type === 'listening') return
    if (message.type === 'answer') {
      this.#calls.get(message.call)?.(message.value)
      this.#calls.delete(message.call)
      return
    }
    this.#reports.push(message)
    for (const wake of this.#waiting) wake(message)
  }

  #order(order: Order extends infer One ? (One extends Order ? Omit<One, 'call'> : never) : never): Promise<unknown> {
    const call = ++this.#lastCall
    return new Promise((resolve) => {
      this.#calls.set(call, resolve)
      this.#child.send({ ...order, call })
    })
  }

  /** The first report, past or coming, that `matches`. */
  #until<Match extends RequestReport>(matches: (report: RequestReport) => report is Match): Promise<Match> {
    const past = this.#reports.find(matches)
    if (past) return Promise.resolve(past)
    return new Promise((resolve) => {
      const wake = (report: RequestReport): void => {
        if (!matches(report)) return
        this.#waiting.delete(wake)
        resolve(report)
      }
      this.#waiting.add(wake)
    })
  }
}
