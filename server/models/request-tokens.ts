import { filesOf, isTextType, textOf } from './message-parts.ts'
import type { ModelRequest } from './model.ts'

/** Bytes of UTF-8 in one token, on average over languages and tokenizers. */
const BYTES_PER_TOKEN = 4
/** What providers count for an image of middle size, and for a page of a PDF. */
const TOKENS_PER_IMAGE = 1_000
const TOKENS_PER_PAGE = 2_000
/** Bytes of a page, on average over texts and scans. */
const BYTES_PER_PAGE = 100_000

/** About how many tokens of input a request has, for a provider that was cut off before it stated its usage. */
export function requestTokens({ messages, tools = [] }: Pick<ModelRequest, 'messages' | 'tools'>): number {
  try {
    let tokens = 0
    let bytes = tools.length > 0 ? Buffer.byteLength(JSON.stringify(tools)) : 0
    for (const message of messages) {
      bytes += Buffer.byteLength(textOf(message))
      for (const file of filesOf(message)) tokens += fileTokens(file)
      if (message.role === 'assistant' && message.calls) bytes += Buffer.byteLength(JSON.stringify(message.calls))
    }
    return tokens + Math.ceil(bytes / BYTES_PER_TOKEN)
  } catch {
    // An actor may pass anything, and this is asked for when its run has ended.
    return 0
  }
}

function fileTokens(part: ReturnType<typeof filesOf>[number]): number {
  if (part.type === 'image') return TOKENS_PER_IMAGE
  const { mediaType, data } = part
  if (isTextType(mediaType)) return Math.ceil(data.length / BYTES_PER_TOKEN)
  return TOKENS_PER_PAGE * Math.ceil(data.length / BYTES_PER_PAGE)
}
