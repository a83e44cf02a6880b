import { type Client, type ClientOptions, createClient, type Run, type Status } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { connectWords } from './connect-words.ts'
import { DEFAULT_URL } from './default-address.ts'
import { EXIT, Failure, refusal } from './exit.ts'
import { invocation, shellWord } from './invocation.ts'
import type { Output } from './output.ts'
import { readNumber } from './usage.ts'

const DEFAULT_RECONNECT_S = 30
/** Failed attempts after which a first connection is given up. */
const FIRST_ATTEMPTS = 2

/** The options of every command that talks to a server. */
export const remoteOptions = {
  url: {
    type: 'string',
    value: 'URL',
    about: 'Address of the server. Default: MILLRACE_URL, else ws://127.0.0.1:7400.',
  },
  token: { type: 'string', value: 'TOKEN', about: 'Token that identifies you to the server. Default: MILLRACE_TOKEN.' },
  reconnect: {
    type: 'string',
    value: 'SECONDS',
    about: 'Time limit for reconnecting after a lost connection. Default 30.',
  },
} as const

export type RemoteValues = { readonly [Name in keyof typeof remoteOptions]?: string }

/** The connection of a command to its server. */
export class Remote implements AsyncDisposable {
  readonly client: Client
  readonly #output: Output
  readonly #given: RemoteValues
  readonly #url: string
  readonly #token: string | undefined
  readonly #reconnectMs: number
  readonly #givenUp = new AbortController()
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #wasOpen = false
  /** Why the last attempt to connect failed. */
  #reason: MillraceError | undefined
  #cameBack = false

  /**
   * @param WebSocket Default: that of `ws`.
   * @throws Failure for an invalid address or time.
   */
  constructor(values: RemoteValues, output: Output, WebSocket?: ClientOptions['WebSocket']) {
    this.#output = output
    this.#given = values
    this.#url = values.url ?? (process.env['MILLRACE_URL'] || DEFAULT_URL)
    this.#token = values.token ?? (process.env['MILLRACE_TOKEN'] || undefined)
    if (!URL.canParse(this.#url) || !/^wss?:$/.test(new URL(this.#url).protocol))
      throw new Failure(EXIT.usage, `${this.#url} is not a server address: write it as ${DEFAULT_URL}`)
    const seconds = values.reconnect ?? String(DEFAULT_RECONNECT_S)
    this.#reconnectMs = readNumber('--reconnect', seconds, { min: 0, max: 86_400 }) * 1_000
    this.client = createClient(this.#url, {
      name: 'millrace-cli',
      WebSocket,
      ...(this.#token === undefined ? {} : { token: this.#token }),
      onStatus: (status, error) => {
        this.#reason = error ?? this.#reason
        this.#onStatus(status)
      },
    })
  }

  /**
   * Waits until the server has opened a run. The first call also waits for the connection.
   * @throws Failure when there is no connection; MillraceError when the server refuses the run.
   */
  async opened(run: Run): Promise<{ id: string }> {
    this.#output.busy('connecting')
    try {
      return await run.opened
    } catch (error) {
      if (this.#wasOpen) throw error
      await this.client.close()
      throw connectFailure(this.#reason ?? error, this.#url, this.#token !== undefined)
    } finally {
      this.#output.quiet()
    }
  }

  /** Aborts when the time limit for reconnecting has passed. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal
  }

  /** Whether the client has reconnected at least once. */
  get cameBack(): boolean {
    return this.#cameBack
  }

  /**
   * A command that reaches the same server, to copy. It has the address that was given as an option, and no secret: `URL` and
   * `TOKEN` stand for those that were.
   * @param words the command and its arguments.
   */
  command(...words: readonly (string | number)[]): string {
    const { url, token } = this.#given
    return [
      invocation(),
      ...words,
      ...(url === undefined ? [] : ['--url', hasCredentials(url) ? 'URL' : shellWord(url)]),
      ...(token === undefined ? [] : ['--token', 'TOKEN']),
    ].join(' ')
  }

  /** Closes the connection. Unfinished runs go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer)
    await this.client.close({ runs: 'detach' })
  }

  #onStatus(status: Status): void {
    if (status === 'open') this.#opened()
    if (status !== 'lost') return
    if (this.#wasOpen) this.#lost()
    // A first connection is given up early, so that the user learns why. Refused credentials show only at the second
    // attempt: the first may have used an outdated token.
    else if (++this.#failures === FIRST_ATTEMPTS) void this.client.close()
  }

  #opened(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#wasOpen) {
      this.#cameBack = true
      this.#output.note('reconnected')
    }
    this.#wasOpen = true
  }

  #lost(): void {
    if (this.#timer) return
    this.#timer = setTimeout(() => this.#givenUp.abort(), this.#reconnectMs)
    if (this.#reconnectMs === 0) return
    this.#output.note(`connection lost: reconnecting for up to ${this.#reconnectMs / 1_000} s`)
    this.#output.busy('connecting')
  }
}

function hasCredentials(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

function connectFailure(error: unknown, url: string, hasToken: boolean): Failure {
  if (MillraceError.is(error, 'unauthenticated') || MillraceError.is(error, 'forbidden')) {
    const what = hasToken ? 'the server refused this token' : 'the server needs a token'
    const which = 'use the one that it printed, or one that its config file accepts'
    return new Failure(EXIT.unreachable, `${what}: ${which}, with --token or MILLRACE_TOKEN`, error)
  }
  if (!MillraceError.is(error, 'connection_lost')) return refusal(error)
  const cause = error.cause instanceof Error ? error.cause : undefined
  // A server that closes the connection says why. Everything else is an error of the WebSocket.
  const why = cause ? connectWords(cause, '--url') : error.message
  return new Failure(EXIT.unreachable, `cannot connect to ${url}: ${why}`, error)
}
