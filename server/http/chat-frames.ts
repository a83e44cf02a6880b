import { z } from 'zod'
import type { UiChunks } from '../../formats/ai-sdk-chunks.ts'
import { jsonOf } from '../../formats/plain-text.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { StreamFormat } from './stream-format.ts'

const MAX_ID_CHARACTERS = 256
const id = z.string().min(1).max(MAX_ID_CHARACTERS)
const facts = { requestId: id, id, headers: z.record(z.string(), z.string()).default({}) }

/** What every request of a client names: itself, its chat, and the headers that a transport was given. */
type ChatRequest = {
  readonly requestId: string
  readonly id: string
  readonly headers: Record<string, string>
}

/** A frame of the AI SDK's `WebSocketChatTransport`. */
export type ChatFrame =
  | (ChatRequest & {
      readonly type: 'send'
      readonly messages: unknown[]
      readonly trigger: 'submit-message' | 'regenerate-message'
    })
  | (ChatRequest & { readonly type: 'resume'; readonly lastSequence?: number })
  | { readonly type: 'abort'; readonly requestId: string }

const FRAME: z.ZodType<ChatFrame> = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('send'),
    ...facts,
    messages: z.array(z.unknown()),
    trigger: z.enum(['submit-message', 'regenerate-message']),
  }),
  z.looseObject({ type: z.literal('resume'), ...facts, lastSequence: z.int().min(0).exactOptional() }),
  z.looseObject({ type: z.literal('abort'), requestId: id }),
])

/** @throws MillraceError `bad_request` for a text that is no such frame. */
export function chatFrame(text: string): ChatFrame {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new MillraceError('bad_request', 'a message must be JSON')
  }
  const { success, data, error } = FRAME.safeParse(value)
  if (success) return data
  const [issue] = error.issues
  throw new MillraceError('bad_request', `a frame of a chat is malformed: ${issue?.path.join('.')}: ${issue?.message}`)
}

/** What the server sends about a request, besides chunks. */
export type ChatReply =
  | { type: 'start' | 'end' | 'no-active'; requestId: string }
  | { type: 'error'; requestId: string; errorText: string }

/** The chunks of a run as frames: one line each, numbered without gaps. */
export class ChatFrames implements StreamFormat {
  readonly type = 'application/x-ndjson'
  readonly heartbeat = ''
  readonly #format: UiChunks
  readonly #requestId: string
  /** The last chunk that the client has. */
  readonly #seen: number
  #sequence = 0

  constructor(format: UiChunks, requestId: string, seen = -1) {
    this.#format = format
    this.#requestId = requestId
    this.#seen = seen
  }

  get isOver(): boolean {
    return this.#format.isOver
  }

  begin(): string {
    return this.#lines(this.#format.begin())
  }

  event(event: StreamEvent): string {
    const lines = this.#lines(this.#format.take(event))
    return this.#format.isOver ? lines + this.#end : lines
  }

  end(end: RunEnd): string {
    return this.#lines(this.#format.end(end)) + this.#end
  }

  fail({ message }: MillraceError): string {
    return `${jsonOf({ type: 'error', requestId: this.#requestId, errorText: message } satisfies ChatReply)}\n`
  }

  get #end(): string {
    return `${jsonOf({ type: 'end', requestId: this.#requestId } satisfies ChatReply)}\n`
  }

  #lines(chunks: readonly object[]): string {
    let lines = ''
    for (const chunk of chunks) {
      const sequence = this.#sequence++
      if (sequence > this.#seen) lines += `${jsonOf({ type: 'chunk', requestId: this.#requestId, sequence, chunk })}\n`
    }
    return lines
  }
}
