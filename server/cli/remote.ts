import { type Client, createClient, type Status } from '../../client-sdk/node.ts'
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
  readonly #reconnectMs: number
  readonly #given = new AbortController()
  /** Resolves when the connection is open, or when it is clear that it will not be. */
  readonly #settled: Promise<void>
  #settle!: () => void
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #wasOpen = false
  #cameBack = false

  private constructor(url: string, token: string | undefined, reconnectMs: number, output: Output) {
    this.#output = output
    this.#reconnectMs = reconnectMs
    this.#settled = new Promise((settle) => (this.#settle = settle))
    this.client = createClient(url, {
      name: 'millrace-cli',
      ...(token === undefined ? {} : { token }),
      onStatus: (status) => this.#onStatus(status),
    })
  }

  /**
   * Connects.
   * @throws Failure that says why not.
   */
  static async open(values: RemoteValues, output: Output): Promise<Remote> {
    const url = values.url ?? (process.env['MILLRACE_URL'] || DEFAULT_URL)
    const token = values.token ?? (process.env['MILLRACE_TOKEN'] || undefined)
    if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol))
      throw new Failure(EXIT.usage, `${url} is no address of a server: write it as ${DEFAULT_URL}`)
    const seconds = readNumber('--reconnect', values.reconnect ?? String(DEFAULT_RECONNECT_S), { min: 0, max: 86_400 })
    const remote = new Remote(url, token, seconds * 1_000, output)
    output.busy('connecting')
    remote.client.connect()
    await remote.#settled
    output.quiet()
    if (remote.client.status === 'open') return remote
    throw connectFailure(await reasonOf(remote.client), url, token !== undefined)
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
    this.#wasOpen = false
    await this.client.close({ runs: 'detach' })
  }

  #onStatus(status: Status): void {
    if (status === 'open') this.#opened()
    if (status === 'lost' && this.#wasOpen) this.#lost()
    // A person who waits for a first connection wants to know. A refusal shows at the second try: the first one may
    // have come with credentials of yesterday.
    if (status === 'lost' && !this.#wasOpen && ++this.#failures === FIRST_TRIES) void this.client.close()
    if (status === 'closed') this.#settle()
  }

  #opened(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#wasOpen) {
      this.#cameBack = true
      this.#output.note('connected again')
    }
    this.#wasOpen = true
    this.#settle()
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
