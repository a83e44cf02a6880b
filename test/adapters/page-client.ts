/** What a reader learns of the end. `left`: its own protocol says nothing after the person's own stop. */
export type Ending = 'done' | 'cancelled' | 'error' | 'left'

/** Where a page finds its run. */
export type Page = {
  readonly url: string
  readonly actor: string
  readonly chat: string
  /** The page will be gone and come back. A client whose leaving is its only stop has to say so when it starts the run. */
  readonly comesBack?: boolean
}

/** One run as a page shows it. */
export interface PageReading {
  /** The answer as far as it was shown. */
  readonly text: string
  readonly over: Promise<Ending>
  /** The page takes nothing more, until `go`. */
  hold(): void
  go(): void
  /** The person presses stop. */
  stop(): void
  /** The page is gone. */
  drop(): Promise<void>
}

/** A way in which pages start, read, resume and stop runs. */
export interface PageClient {
  readonly name: string
  start(page: Page): Promise<PageReading>
  /** A new page that knows nothing but the id of the chat, and what its client keeps where its protocol has it do so. */
  resume(page: Page): Promise<PageReading>
  /** All its pages are gone. */
  close?(): Promise<unknown>
}

/** The person of all pages. */
export const TOKEN = 'alice'
/** What a request over HTTP has of that. */
export const HEADERS = { authorization: `Bearer ${TOKEN}` }

/** The text of a reading, and a gate in front of what comes next. */
export class Shown {
  text = ''
  #gate: Promise<void> | undefined
  #open = (): void => {}

  hold(): void {
    this.#gate ??= new Promise((resolve) => {
      this.#open = resolve
    })
  }

  go(): void {
    this.#gate = undefined
    this.#open()
  }

  async passed(): Promise<void> {
    await this.#gate
  }
}

export function reading(
  shown: Shown,
  over: Promise<Ending>,
  stop: () => void,
  drop: () => Promise<unknown>,
): PageReading {
  return {
    get text() {
      return shown.text
    },
    over,
    hold: () => shown.hold(),
    go: () => shown.go(),
    stop,
    async drop() {
      shown.go()
      await drop()
    },
  }
}

/** Where a page finds the same server over HTTP. */
export function httpUrl({ url }: Page): string {
  return url.replace('ws:', 'http:')
}

/** Cancels a run as a page does that has no connection of its own. */
export function cancelOverHttp(page: Page, run: string): void {
  void fetch(`${httpUrl(page)}/runs/${run}/cancel`, { method: 'POST', headers: HEADERS })
}

/**
 * `fetch` of a page that leaves its responses unread while it takes nothing more.
 * @param leaving The page is gone.
 */
export function slowFetch(shown: Shown, leaving: AbortSignal): typeof fetch {
  return async (input, init) => {
    const signals = [leaving, init?.signal].filter((signal) => signal instanceof AbortSignal)
    const response = await fetch(input, { ...init, signal: AbortSignal.any(signals) })
    if (!response.body) return response
    const gate = new TransformStream<Uint8Array, Uint8Array>(
      {
        async transform(chunk, controller) {
          await shown.passed()
          // A library works through all that it has before anything else gets a turn.
          await new Promise((resolve) => setImmediate(resolve))
          controller.enqueue(chunk)
        },
      },
      undefined,
      { highWaterMark: 0 },
    )
    return new Response(response.body.pipeThrough(gate), response)
  }
}
