import type { Client, Run } from 'millrace/client'
import type { Actors } from './start.ts'

/** A message of a person, as the platform delivers it. Platforms deliver one more than once at times: `id` is the same then. */
export type Incoming = { readonly id: string; readonly channel: string; readonly text: string }

export type BridgeOptions = {
  readonly client: Client<Actors>
  /** The address of the platform. */
  readonly platform: string
  /** The least time between two edits of a message, in milliseconds. */
  readonly editMs: number
  /** How often the typing indicator is sent while there is no text, in milliseconds. */
  readonly typingMs: number
}

/**
 * A chat platform in front of an agent. An answer is one message, which is edited as it grows, at the rate that the
 * platform takes. While an answer is written, a message steers it, and `stop` cancels it.
 */
export class Bridge {
  readonly #options: BridgeOptions
  /** The answer that is written in each channel, with the message that it is for. */
  readonly #live = new Map<string, { readonly id: string; readonly run: Run }>()

  constructor(options: BridgeOptions) {
    this.#options = options
  }

  /** Handles a message. Resolves when it was answered. */
  async receive({ id, channel, text }: Incoming): Promise<void> {
    const live = this.#live.get(channel)
    if (live?.id === id) return
    if (live) {
      await (text === 'stop' ? live.run.cancel({ note: 'stopped in the chat' }) : live.run.send('message', text))
      return
    }
    // The key of a delivery that comes again finds the same run.
    const run = this.#options.client.start('chat', text, { key: `chat-${id}`, meta: { channel } })
    this.#live.set(channel, { id, run })
    try {
      await this.#answer(run)
    } finally {
      this.#live.delete(channel)
    }
  }

  async #answer(run: Run): Promise<void> {
    const { editMs, typingMs } = this.#options
    let text = ''
    let message = ''
    let shown = ''
    const type = (): void => void (message === '' && this.#call('typing', {}))
    type()
    const typing = setInterval(type, typingMs)
    const show = async (): Promise<void> => {
      if (text === shown) return
      const next = text
      const answer = await this.#call(message === '' ? 'messages' : `messages/${message}`, { text: next })
      if (!answer) return
      message = answer.id
      shown = next
    }
    // One loop reads, the other shows what has come by then: a slow platform holds up nobody.
    let isOver = false
    const showing = (async () => {
      while (!isOver) {
        await show()
        await pause(editMs)
      }
    })()
    try {
      for await (const piece of run.text()) text += piece
    } catch {
      // The end says it.
    }
    const { outcome, error } = await run.end
    isOver = true
    clearInterval(typing)
    await showing
    if (outcome === 'cancelled') text += ' (stopped)'
    if (outcome === 'error') text += ` (failed: ${error?.message ?? 'unknown'})`
    // The last edit must arrive: a platform that has had enough is asked again.
    while (shown !== text) {
      await show()
      if (shown !== text) await pause(editMs)
    }
  }

  /** Undefined: the platform takes no more for now. */
  async #call(path: string, body: object): Promise<{ id: string } | undefined> {
    const response = await fetch(`${this.#options.platform}/${path}`, { method: 'POST', body: JSON.stringify(body) })
    if (response.status === 429) return undefined
    if (!response.ok) throw new Error(`the platform answered ${response.status} to ${path}`)
    return (await response.json()) as { id: string }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
