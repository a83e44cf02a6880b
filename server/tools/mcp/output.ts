import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'

/**
 * The output of an MCP call: its structured content if there is one, else its texts. What is neither, such as an image,
 * is named in a note, because a model gets text.
 * @param hide takes secrets out of the words of an error.
 * @throws MillraceError `tool_failed` with the texts, if the server says that the call failed.
 */
export function outputOf(
  { content, structuredContent, isError }: CallToolResult,
  hide: (text: string) => string,
): unknown {
  const texts = content.map(textOf)
  if (isError === true) throw new MillraceError('tool_failed', hide(texts.join('\n')) || 'the tool failed')
  if (structuredContent === undefined) return texts.join('\n')
  const notes = texts.filter((_, at) => content[at]?.type !== 'text')
  return notes.length === 0 ? structuredContent : [JSON.stringify(structuredContent), ...notes].join('\n')
}

function textOf(block: ContentBlock): string {
  switch (block.type) {
    case 'text':
      return block.text
    case 'image':
    case 'audio':
      return `[${block.type}: ${block.mimeType}, ${bytesOf(block.data)} bytes, not shown]`
    case 'resource_link':
      return `[resource: ${block.name}, ${block.uri}]`
    case 'resource': {
      const { resource } = block
      if ('text' in resource) return resource.text
      return `[resource: ${resource.uri}, ${bytesOf(resource.blob)} bytes, not shown]`
    }
    default:
      return '[content of an unknown type, not shown]'
  }
}

/** The number of bytes that a text in base64 stands for. */
function bytesOf(base64: string): number {
  return Math.floor((base64.replace(/=+$/, '').length * 3) / 4)
}
