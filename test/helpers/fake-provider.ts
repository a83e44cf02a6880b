import { Child } from './child-process.ts'
import type { Behaviour, ProviderCommand, ProviderReport, Written } from './fake-provider-wire.ts'

export { wallMs } from './fake-provider-wire.ts'

type Seen<Type extends ProviderReport['type']> = Extract<ProviderReport, { type: Type }>
type RequestReport = Exclude<ProviderReport, { type: 'listening' }>

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
  readonly #child: Child<ProviderReport, ProviderCommand>

  static async start(): Promise<FakeProvider> {
    const child = new Child<ProviderReport, ProviderCommand>('fake-provider-process.ts')
    const { port } = await child.said('listening')
    return new FakeProvider(child, port)
  }

  private constructor(child: Child<ProviderReport, ProviderCommand>, port: number) {
    this.#child = child
    this.host = `http://127.0.0.1:${port}`
    this.baseURL = `${this.host}/v1`
  }

  /** From now on requests for `model` are answered so: the first by the first, and by the last once there are no more. */
  async behave(model: string, ...answers: Behaviour[]): Promise<void> {
    await this.#child.ask({ type: 'behave', model, answers })
  }

  /** The `n`th request for `model` (from 1), once it has arrived. */
  request(model: string, n = 1): Promise<SeenRequest> {
    return this.#child.said('request', (report) => report.model === model, n)
  }

  /** How many requests for `model` have arrived, as the provider knows now. */
  count(model: string): Promise<number> {
    return this.#child.ask({ type: 'count', model })
  }

  /** The first report of that type about a request, once it has come. */
  seen<Type extends RequestReport['type']>(id: number, type: Type): Promise<Seen<Type>> {
    return this.#child.said(type, (report) => (report as RequestReport).id === id)
  }

  /** The end of a response. `whole` is false when its socket was closed before the response was complete. */
  closed(id: number): Promise<Seen<'closed'>> {
    return this.seen(id, 'closed')
  }

  /** How much of a response has been written, as the provider knows now. */
  written(id: number): Promise<Written> {
    return this.#child.ask({ type: 'written', id })
  }

  /** Resolves once the socket takes no more: written stays the same while the provider is asked again and again. */
  async stalled(id: number): Promise<Written> {
    for (let n = 1; ; n++) {
      await this.#child.said('blocked', (report) => report.id === id, n)
      const before = await this.written(id)
      let now = before
      for (let times = 0; times < 50 && now.blocked && now.bytes === before.bytes; times++) now = await this.written(id)
      if (now.blocked && now.bytes === before.bytes) return now
    }
  }

  /** Goes on where it holds. */
  async release(id: number): Promise<void> {
    await this.#child.ask({ type: 'release', id })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]()
  }
}
