import { jsonOf } from '../../formats/plain-text.ts'
import { CLOSE, MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { EarlyBytes, EarlyShare } from '../connections/early-bytes.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { FoundRun } from '../sessions/registry.ts'
import { excerptBytes } from '../text.ts'
import type { Socket, SocketEvents } from '../transports/transport.ts'
import type { AiSdkChats } from './ai-sdk-chats.ts'
import type { Caller, Callers } from './caller.ts'
import { type ChatFrame, ChatFrames, type ChatReply, chatFrame } from './chat-frames.ts'
import type { RunAccess } from './run-access.ts'
import type { Tickets } from './tickets.ts'

/** The longest reason of a close, in bytes. */
const REASON_BYTES = 120

/** Requests that may wait until it is known who sends them. */
const MAX_EARLY_REQUESTS = 8

export type ChatSocketParts = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  readonly callers: Callers
  readonly tickets: Tickets
  readonly access: RunAccess
  readonly chats: AiSdkChats
  readonly earlyBytes: EarlyBytes
  report(error: unknown): void
  closed(socket: ChatSocket): void
}

/** A request that is being answered. */
type OpenRequest = { found?: FoundRun; body?: ReadableStreamDefaultReader<Uint8Array> }

/**
 * One socket of the AI SDK's `WebSocketChatTransport`: frames in JSON, any number of requests at once. A run is read only
 * as fast as the socket takes it. A lost socket leaves its runs alone; an `abort` cancels the run, unless the address has
 * `abort=detach`.
 */
export class ChatSocket implements SocketEvents {
  readonly #socket: Socket & Required<Pick<Socket, 'sendText'>>
  readonly #actor: string
  readonly #url: URL
  readonly #parts: ChatSocketParts
  readonly #open = new Map<string, OpenRequest>()
  readonly #share: EarlyShare
  /** Closes a socket that sends no request. */
  #idleTimer: Timer | undefined
  #caller: { readonly token: string | undefined; readonly known: Promise<Caller> } | undefined
  #isKnown = false
  #isClosed = false
  #drained: (() => void)[] = []

  constructor(socket: Socket & Required<Pick<Socket, 'sendText'>>, actor: string, parts: ChatSocketParts) {
    this.#socket = socket
    this.#actor = actor
    this.#url = new URL(socket.request.url, 'ws://localhost')
    this.#parts = parts
    this.#share = parts.earlyBytes.add(() => socket.terminate())
    this.#closeLater(parts.limits.helloMs, CLOSE.helloTimeout, 'no request came in time')
  }

  // --- as its transport sees it

  arrived(bytes: number): void {
    if (!this.#isKnown) this.#share.set(bytes)
  }

  message(): void {
    this.fault(CLOSE.malformed, 'a chat of the AI SDK sends text')
  }

  text(text: string): void {
    if (!this.#isKnown) this.#share.set(text.length)
    let frame: ChatFrame
    try {
      frame = chatFrame(text)
    } catch (error) {
      return this.fault(CLOSE.malformed, MillraceError.from(error).message)
    }
    if (frame.type === 'abort') return this.#abort(frame.requestId)
    const most = this.#isKnown ? 2 * this.#parts.limits.maxStreams : MAX_EARLY_REQUESTS
    if (this.#open.size >= most) return this.fault(CLOSE.tooMany, 'too many requests at once')
    if (this.#open.has(frame.requestId)) return this.fault(CLOSE.malformed, 'two requests have one requestId')
    this.#idleTimer?.clear()
    const open: OpenRequest = {}
    this.#open.set(frame.requestId, open)
    void this.#answer(frame, open).finally(() => {
      if (this.#open.get(frame.requestId) === open) this.#open.delete(frame.requestId)
      if (this.#open.size === 0 && !this.#isClosed)
        this.#closeLater(this.#parts.limits.resumeMs, CLOSE.done, 'no request for a long time')
    })
  }

  drain(): void {
    for (const go of this.#drained.splice(0)) go()
  }

  closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#idleTimer?.clear()
    this.#share.release()
    for (const { body } of this.#open.values()) void body?.cancel()
    this.drain()
    this.#parts.closed(this)
  }

  // --- as a shutdown sees it

  get idle(): boolean {
    return this.#open.size === 0
  }

  get delivered(): boolean {
    return this.#open.size === 0 && this.#socket.bufferedAmount === 0
  }

  /** The protocol has no word for it. */
  goaway(): void {}

  fault(code: number, reason: string): void {
    this.#socket.close(code, excerptBytes(reason, REASON_BYTES))
  }

  // --- requests

  async #answer(frame: Exclude<ChatFrame, { type: 'abort' }>, open: OpenRequest): Promise<void> {
    const { requestId } = frame
    let caller: Caller | undefined
    try {
      caller = await this.#identify(frame.headers['authorization'])
      if (this.#open.size > this.#parts.limits.maxStreams)
        throw new MillraceError('too_many_streams', 'too many requests on this socket: end one first')
      caller.quota.takeRequest()
      const { chats, access } = this.#parts
      const answer =
        frame.type === 'send'
          ? await chats.send(caller, this.#actor, frame, 7)
          : await chats.resume(caller, this.#actor, frame.id, 7)
      if (!answer) {
        await this.#reply({ type: 'no-active', requestId })
        return
      }
      const { found, from } = answer
      open.found = found
      // It came while the run was looked for.
      if (this.#open.get(requestId) !== open) {
        this.#stop(caller, found)
        return
      }
      const seen = frame.type === 'resume' ? frame.lastSequence : undefined
      const format = new ChatFrames(answer.format, requestId, seen)
      const { body } = access.stream(caller, found, { from, policy: 'pace', format })
      if (this.#isClosed || !body) return void body?.cancel()
      open.body = body.getReader()
      if (frame.type === 'resume') await this.#reply({ type: 'start', requestId })
      await this.#pass(open.body)
    } catch (error) {
      await this.#refuse(requestId, error, caller)
    }
  }

  /** Sends what a stream gives, as fast as the socket takes it. */
  async #pass(body: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const utf8 = new TextDecoder()
    for (;;) {
      const { done, value } = await body.read()
      if (done) return
      for (const line of utf8.decode(value).split('\n')) if (line !== '') await this.#send(line)
      if (this.#isClosed) return void body.cancel()
    }
  }

  #abort(requestId: string): void {
    const open = this.#open.get(requestId)
    if (!open) return
    this.#open.delete(requestId)
    void open.body?.cancel()
    const { found } = open
    if (found) void this.#caller?.known.then((caller) => this.#stop(caller, found)).catch(() => {})
  }

  #stop(caller: Caller, found: FoundRun): void {
    if (this.#url.searchParams.get('abort') === 'detach') return
    this.#parts.access.cancel(caller, found, 'user').catch((error: unknown) => {
      if (!MillraceError.is(error)) this.#parts.report(error)
    })
  }

  /** The client behind a request: as the upgrade says, or else as the request does. */
  async #identify(token: string | undefined): Promise<Caller> {
    if (this.#caller?.token !== token) this.#caller = undefined
    this.#caller ??= { token, known: this.#whoIs(token) }
    const { known } = this.#caller
    const caller = await known
    const { expiresAt } = caller.identity
    if (expiresAt !== undefined && expiresAt <= this.#parts.runtime.wallClock())
      throw new MillraceError('unauthenticated', 'the credentials have expired')
    this.#isKnown = true
    this.#share.release()
    return caller
  }

  async #whoIs(token: string | undefined): Promise<Caller> {
    const { callers, tickets } = this.#parts
    const { request } = this.#socket
    const ticket = this.#url.searchParams.get('ticket')
    if (ticket !== null) return callers.ofTicket(tickets.use(ticket, { actor: this.#actor }, undefined))
    if (token === undefined || request.headers.has('authorization')) return await callers.identify(request)
    return await callers.identify({ ...request, headers: new Map(request.headers).set('authorization', token) })
  }

  // --- sending

  async #refuse(requestId: string, error: unknown, caller: Caller | undefined): Promise<void> {
    const refusal = MillraceError.from(error, 'internal', 'the server failed to answer this request')
    if (refusal.code === 'internal') this.#parts.report(error)
    if (refusal.code === 'unauthenticated') {
      this.#parts.log.write('connection.refused', { code: refusal.code, over: 'ai-sdk' })
      this.#caller = undefined
      // A browser tells the page the reason of a close, and this client fails its requests with it.
      this.fault(CLOSE.unauthenticated, refusal.message)
      return
    }
    if (caller) this.#parts.access.noteLimit(caller, refusal, 'ai-sdk')
    await this.#reply({ type: 'error', requestId, errorText: `${refusal.code}: ${refusal.message}` })
  }

  async #reply(reply: ChatReply): Promise<void> {
    await this.#send(jsonOf(reply))
  }

  /** Resolves when the socket can take more. */
  async #send(text: string): Promise<void> {
    const { runtime, limits } = this.#parts
    for (let isSent = false; !isSent && !this.#isClosed; ) {
      const outcome = this.#socket.sendText(text)
      if (outcome === 'closed') return
      isSent = outcome === 'sent'
      if (isSent && this.#socket.bufferedAmount <= limits.highWater) return
      const timer = runtime.setTimer(limits.slowMs, () => this.#socket.terminate())
      await new Promise<void>((resolve) => this.#drained.push(resolve))
      timer.clear()
    }
  }

  #closeLater(ms: number, code: number, reason: string): void {
    this.#idleTimer?.clear()
    this.#idleTimer = this.#parts.runtime.setTimer(ms, () => this.fault(code, reason))
  }
}

/** The actor of an address below which chats connect: `/ai-sdk/ACTOR`. Undefined for another address. */
export function chatActor(url: string): string | undefined {
  const [path = ''] = url.split('?', 1)
  const name = /\/ai-sdk\/([^/]+)$/.exec(path)?.[1]
  try {
    return name === undefined ? undefined : decodeURIComponent(name)
  } catch {
    return undefined
  }
}

/** The paths below that of the server at which chats connect. */
export const CHAT_PATH = '/ai-sdk/'
