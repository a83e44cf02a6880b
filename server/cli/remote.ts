import { type Client, createClient, type Run, type Status } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { EXIT, Failure, refusal } from './exit.ts'
import { invocation } from './invocation.ts'
import type { Output } from './output.ts'
import { readNumber } from './usage.ts'

/** Where a server is that was told nothing else. */
export const DEFAULT_URL = 'ws://127.0.0.1:7400'
const DEFAULT_RECONNECT_S = 30
const FIRST_TRIES = 2

/** The options of every command that talks to a server. */
export const remoteOptions = {
  url: { type: 'string', value: 'URL', about: 'Where the server is. Default: MILLRACE_URL, else ws://127.0.0.1:7400.' },
  token: { type: 'string', value: 'TOKEN', about: 'Who you are, to the server. Default: MILLRACE_TOKEN.' },
  reconnect: {
    type: 'string',
    value: 'SECONDS',
    about: 'How long a lost connection is tried again before giving up. Default 30.',
  },
} as const

export type RemoteValues = { readonly [Name in keyof typeof remoteOptions]?: string }

/** The server at the other end, and what becomes of the connection to it. */
export class Remote implements AsyncDisposable {
  readonly client: Client
  readonly #output: Output
  readonly #url: string
  readonly #token: string | undefined
  readonly #reconnectMs: number
  readonly #given = new AbortController()
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #wasOpen = false
  #cameBack = false

  /** @throws Failure for an address or a time that is none. */
  constructor(values: RemoteValues, output: Output) {
    this.#output = output
    this.#url = values.url ?? (process.env['MILLRACE_URL'] || DEFAULT_URL)
    this.#token = values.token ?? (process.env['MILLRACE_TOKEN'] || undefined)
    if (!URL.canParse(this.#url) || !/^wss?:$/.test(new URL(this.#url).protocol))
      throw new Failure(EXIT.usage, `${this.#url} is no address of a server: write it as ${DEFAULT_URL}`)
    const seconds = values.reconnect ?? String(DEFAULT_RECONNECT_S)
    this.#reconnectMs = readNumber('--reconnect', seconds, { min: 0, max: 86_400 }) * 1_000
    this.client = createClient(this.#url, {
      name: 'millrace-cli',
      ...(this.#token === undefined ? {} : { token: this.#token }),
      onStatus: (status) => this.#onStatus(status),
    })
  }

  /**
   * Waits for a run of this client to be opened, and with the first one for the connection.
   * @throws Failure that says why there is no connection; MillraceError, why there is no run.
   */
  async opened(run: Run): Promise<{ id: string }> {
    this.#output.busy('connecting')
    try {
      return await run.opened
    } catch (error) {
      if (this.#wasOpen) throw error
      await this.client.close()
      throw connectFailure(await reasonOf(this.client), this.#url, this.#token !== undefined)
    } finally {
      this.#output.quiet()
    }
  }

  /** Aborts when the connection was gone for so long that it is given up. */
  get givenUp(): AbortSignal {
    return this.#given.signal
  }

  /** The connection was lost and came back. */
  get cameBack(): boolean {
    return this.#cameBack
  }

  /** Closes the connection. Runs that go on are left to themselves. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    await this.client.close({ runs: 'detach' })
  }

  #onStatus(status: Status): void {
    if (status === 'open') this.#opened()
    if (status !== 'lost') return
    if (this.#wasOpen) this.#lost()
    // Who waits for a first connection wants to know. Refused credentials show at the second try, as the first one may
    // have come with those of yesterday.
    else if (++this.#failures === FIRST_TRIES) void this.client.close()
  }

  #opened(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#wasOpen) {
      this.#cameBack = true
      this.#output.note('connected again')
    }
    this.#wasOpen = true
  }

  #lost(): void {
    if (this.#timer) return
    this.#timer = setTimeout(() => this.#given.abort(), this.#reconnectMs)
    if (this.#reconnectMs === 0) return
    this.#output.note(`connection lost: trying again for ${this.#reconnectMs / 1_000} s`)
    this.#output.busy('connecting')
  }
}

/** Why a client is closed: what it tells a view that can no longer be opened. */
async function reasonOf(client: Client): Promise<unknown> {
  try {
    return await client.attach('', '').opened
  } catch (reason) {
    return reason
  }
}

function connectFailure(error: unknown, url: string, hasToken: boolean): Failure {
  if (MillraceError.is(error, 'unauthenticated') || MillraceError.is(error, 'forbidden')) {
    const what = hasToken ? 'the server refused this token: use the one' : 'the server wants a token: give it the one'
    return new Failure(EXIT.unreachable, `${what} that it printed, with --token or MILLRACE_TOKEN`, error)
  }
  if (!MillraceError.is(error, 'connection_lost')) return refusal(error)
  const cause = error.cause instanceof Error ? error.cause : undefined
  const code = cause && 'code' in cause ? String(cause.code) : ''
  return new Failure(EXIT.unreachable, `cannot connect to ${url}: ${whyNot(code, cause?.message ?? '')}`, error)
}

function whyNot(code: string, message: string): string {
  const start = `start a server with \`${invocation()} serve\`, or say where it is with --url`
  const status = /Unexpected server response: (\d+)/.exec(message)?.[1]
  if (status === '503') return 'the server is going away; try again in a moment'
  if (status !== undefined) return `what answers there is no millrace server (HTTP ${status}): check --url`
  if (code === 'ECONNREFUSED') return `nobody listens there; ${start}`
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no such host; check --url'
  if (code !== '') return `${code}; ${start}`
  return `no answer from a millrace server; ${start}`
}
