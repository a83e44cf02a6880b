import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

/** One call of the platform, as it came. */
export type PlatformCall = {
  readonly atMs: number
  readonly what: 'typing' | 'post' | 'edit' | 'refused'
  readonly text: string
}

/**
 * A chat platform such as Slack, Discord or Telegram, as far as a bridge needs it: a typing indicator, messages, and
 * edits of a message, of which it takes one in `editMs` and answers 429 to the others.
 */
export class FakePlatform {
  readonly calls: PlatformCall[] = []
  readonly #editMs: number
  readonly #messages = new Map<string, { text: string; editedAt: number }>()
  readonly #http = createServer((request, response) => {
    const [, what, id = ''] = (request.url ?? '').split('/')
    json(request).then(
      (body) => {
        const answer = this.#take(what ?? '', id, (body as { text?: string }).text ?? '')
        response.writeHead(answer.status, { 'content-type': 'application/json', 'retry-after': '1' })
        response.end(JSON.stringify(answer.body))
      },
      () => response.writeHead(400).end(),
    )
  })

  constructor(editMs: number) {
    this.#editMs = editMs
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#http.address() as { port: number }).port}`
  }

  close(): void {
    this.#http.close()
    this.#http.closeAllConnections()
  }

  #take(what: string, id: string, text: string): { status: number; body: object } {
    const atMs = Math.round(performance.now())
    const said = (kind: PlatformCall['what']): void => void this.calls.push({ atMs, what: kind, text })
    if (what === 'typing') {
      said('typing')
      return { status: 200, body: {} }
    }
    const message = this.#messages.get(id)
    if (message && atMs - message.editedAt < this.#editMs) {
      said('refused')
      return { status: 429, body: { error: 'too many edits' } }
    }
    said(message ? 'edit' : 'post')
    const key = message ? id : `m${this.#messages.size + 1}`
    this.#messages.set(key, { text, editedAt: atMs })
    return { status: 200, body: { id: key } }
  }
}
