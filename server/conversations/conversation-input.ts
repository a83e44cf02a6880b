import { z } from 'zod'
import { clientParts } from '../agents/agent-input.ts'
import type { ClientPart } from '../agents/client-files.ts'

/** Which conversation is meant. */
type Named = {
  /** Its id, unique among those of its owner: 1 to 128 characters. */
  conversation: string
  /** The id of the principal that it belongs to. Default: that of the client. */
  owner?: string | undefined
}

/** What a client asks of a conversation actor. Clients use `millrace/conversation`, which writes these. */
export type ConversationInput =
  /** To follow it: what it is, then every change. `since` and `createdAt` are what the client knows already. */
  | (Named & { type: 'watch'; since?: number | undefined; createdAt?: number | undefined })
  /**
   * To answer a message, which has this id. The same id again is the same message. `parent`: the message that it follows;
   * null: none. Default: the last one of the active branch. `answer: false`: the message is only stored. `model`: that of
   * the conversation from here on, as with `type: 'model'`.
   */
  | (Named & {
      type: 'send'
      id: string
      content: string | readonly ClientPart[]
      parent?: string | null | undefined
      answer?: boolean | undefined
      model?: string | undefined
    })
  /** To answer a message once more. `message`: it, or an answer to it. The new answer has this id. */
  | (Named & { type: 'retry'; id: string; message: string })
  /** To go on with an answer. The server's own message for that has this id. */
  | (Named & { type: 'continue'; id: string; message: string })
  /** To make a message the last of the active branch; null: to begin another branch at the beginning. */
  | (Named & { type: 'branch'; message: string | null })
  /** To make the newest branch through a message the active one. */
  | (Named & { type: 'select'; message: string })
  | (Named & { type: 'rename'; title: string })
  /** To choose its model, of those that the actor allows; null: that of the agent. */
  | (Named & { type: 'model'; model: string | null })
  | (Named & { type: 'remove' })
  /** The conversations of the client's principal, the latest first: at most `most` of them, behind `before`. */
  | { type: 'list'; before?: string | undefined; most?: number | undefined }
  /** The messages of the client's principal with all these words. */
  | { type: 'search'; text: string; most?: number | undefined }

/** An input that asks for an answer. */
export type AnswerInput = Extract<ConversationInput, { type: 'send' | 'retry' | 'continue' }>

/** An input about one conversation that ends at once. */
export type ChangeInput = Extract<ConversationInput, { type: 'branch' | 'select' | 'rename' | 'model' | 'remove' }>

const MAX_TITLE_CHARACTERS = 200
const MAX_PAGE = 50
const MAX_FOUND = 20

const named = {
  conversation: z.string().min(1).max(128),
  owner: z.string().min(1).max(1_024).optional(),
}
const messageId = z.string().regex(/^[\w-]{8,64}$/, 'an id of a message has 8 to 64 of the characters a-z A-Z 0-9 _ -')
const modelId = z.string().min(1).max(256)
const known = z.string().min(1).max(64)
const content = z.union([z.string().min(1), clientParts])

const inputs = [
  z.strictObject({
    type: z.literal('watch'),
    ...named,
    since: z.int().min(0).optional(),
    createdAt: z.number().optional(),
  }),
  z.strictObject({
    type: z.literal('send'),
    ...named,
    id: messageId,
    content,
    parent: known.nullish(),
    answer: z.boolean().optional(),
    model: modelId.optional(),
  }),
  z.strictObject({ type: z.literal('retry'), ...named, id: messageId, message: known }),
  z.strictObject({ type: z.literal('continue'), ...named, id: messageId, message: known }),
  z.strictObject({ type: z.literal('branch'), ...named, message: known.nullable() }),
  z.strictObject({ type: z.literal('select'), ...named, message: known }),
  z.strictObject({ type: z.literal('rename'), ...named, title: z.string().min(1).max(MAX_TITLE_CHARACTERS) }),
  z.strictObject({ type: z.literal('model'), ...named, model: modelId.nullable() }),
  z.strictObject({ type: z.literal('remove'), ...named }),
  z.strictObject({
    type: z.literal('list'),
    before: z.string().max(256).optional(),
    most: z.int().min(1).max(MAX_PAGE).default(MAX_PAGE),
  }),
  z.strictObject({
    type: z.literal('search'),
    text: z.string().min(1).max(256),
    most: z.int().min(1).max(MAX_FOUND).default(MAX_FOUND),
  }),
] as const

/** The schema of the input of a conversation actor. */
export const conversationInput: z.ZodType<ConversationInput, ConversationInput> = z.discriminatedUnion('type', inputs)

/** The ids of the uploads that the content of a message names. */
export function uploadsIn(content: unknown): string[] {
  if (!Array.isArray(content)) return []
  return content.flatMap((part: unknown) => {
    const { upload } = Object(part) as { upload?: unknown }
    return typeof upload === 'string' ? [upload] : []
  })
}

/** A message that a client sends to the run of an answer: it has an id as every message, or just its content. */
export const sentMessage: z.ZodType<{ id: string; content: unknown }> = z.strictObject({
  id: messageId,
  content: z.unknown(),
})
