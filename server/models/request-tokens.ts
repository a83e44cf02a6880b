import type { ModelRequest } from './model.ts'

/** Bytes of UTF-8 in one token, on average over languages and tokenizers. */
const BYTES_PER_TOKEN = 4

/** About how many tokens of input a request has, for a provider that was cut off before it stated its usage. */
export function requestTokens({ messages, tools = [] }: Pick<ModelRequest, 'messages' | 'tools'>): number {
  try {
    let bytes = tools.length > 0 ? Buffer.byteLength(JSON.stringify(tools)) : 0
    for (const message of messages) {
      bytes += Buffer.byteLength(message.content)
      if (message.role === 'assistant' && message.calls) bytes += Buffer.byteLength(JSON.stringify(message.calls))
    }
    return Math.ceil(bytes / BYTES_PER_TOKEN)
  } catch {
    // An actor may pass anything, and this is asked for when its run has ended.
    return 0
  }
}
