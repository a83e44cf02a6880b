import { readFileSync } from 'node:fs'
import { Writer } from '../../protocol/encode.ts'
import { TAG } from '../../protocol/frames.ts'
import type { Direction } from './codec-paths.ts'
import { binary, bytes, hex } from './codec-paths.ts'

/** One frame of an example: the array that is written, and the bytes below it, where there are any. */
type ExampleFrame = { readonly array: readonly unknown[]; readonly bytes: string | undefined }

/** Frames that an example sends as one message. `line` is where its first frame stands. */
export type ExampleMessage = {
  readonly line: number
  readonly direction: Direction
  readonly frames: readonly ExampleFrame[]
}

/** The documents that specify the protocol: the rules and their numbers, and the stories. */
export const PROTOCOL_DOCUMENTS = ['PROTOCOL.md', 'docs/protocol-stories.md'] as const

/** The text of one of them. */
export function readProtocolDocument(name: (typeof PROTOCOL_DOCUMENTS)[number]): string {
  return readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
}

/**
 * The messages of all `wire` blocks. In a block, `up` or `down` begins a frame, an indented line holds its bytes, `#`
 * begins a remark, and a blank line ends a message.
 */
export function exampleMessages(text: string): ExampleMessage[] {
  const messages: ExampleMessage[] = []
  let inside = false
  let open:
    | { line: number; direction: Direction; frames: { array: unknown[]; bytes: string | undefined }[] }
    | undefined
  for (const [index, content] of text.split('\n').entries()) {
    if (content === '```wire') inside = true
    else if (content.startsWith('```')) inside = false
    if (!inside || content === '' || content === '```wire') {
      open = undefined
      continue
    }
    if (content.startsWith('# ')) continue
    const [, direction, array] = /^(up|down) +(\[.*\])$/.exec(content) ?? []
    if (direction !== undefined && array !== undefined) {
      if (open && open.direction !== direction) throw new Error(`line ${index + 1}: a message has two directions`)
      if (!open) messages.push((open = { line: index + 1, direction: direction as Direction, frames: [] }))
      open.frames.push({ array: arrayOf(array), bytes: undefined })
      continue
    }
    const last = open?.frames.at(-1)
    if (!last || !/^ +[0-9a-f]{2}( [0-9a-f]{2})*$/.test(content))
      throw new Error(`line ${index + 1} is neither a frame nor its bytes`)
    last.bytes = (last.bytes ?? '') + content.replaceAll(' ', '')
  }
  return messages
}

/** A document without its `wire` blocks: where no bytes may stand, since nobody would check them. */
export function withoutExamples(text: string): string {
  return text.replace(/^```wire\n[^]*?^```$/gm, '')
}

/** `lane.start` and `INPUT_ACK` as the code names them: `laneStart`, `inputAck`. */
export function camelCase(name: string): string {
  return name.toLowerCase().replace(/[._](\w)/g, (_, letter: string) => letter.toUpperCase())
}

/** The array that an example writes: JSON with unquoted keys, `nil`, `h'...'` for binary, and a frame's name for its tag. */
function arrayOf(source: string): unknown[] {
  const json = source.replace(
    /"(?:[^"\\]|\\.)*"|h'([0-9a-f]*)'|([A-Za-z]\w*)(?=:)|nil|([A-Z][A-Z_]+)/g,
    (token, bin: string | undefined, key: string | undefined, name: string | undefined) => {
      if (bin !== undefined) return JSON.stringify({ $bin: bin })
      if (key !== undefined) return JSON.stringify(key)
      if (name !== undefined) return String(tagOf(name))
      return token === 'nil' ? 'null' : token
    },
  )
  return binary(JSON.parse(json)) as unknown[]
}

function tagOf(name: string): number {
  const tag = (TAG as Record<string, number>)[camelCase(name)]
  if (tag === undefined) throw new Error(`no frame is called ${name}`)
  return tag
}

/** The bytes of an array, in the encoding to write. */
export function encodeArray(array: readonly unknown[]): Uint8Array {
  const writer = new Writer()
  writer.value(array, 16)
  return writer.take()
}

/** The bytes of a message: those that stand in the document, and for frames without any those of their arrays. */
export function messageBytes({ frames }: ExampleMessage): Uint8Array {
  return bytes(frames.map((frame) => frame.bytes ?? hex(encodeArray(frame.array))).join(''))
}

/** What stands between `heading` and the next one. */
export function sectionUnder(text: string, heading: string): string {
  const behind = text.split(`\n${heading}\n`)[1]
  if (behind === undefined) throw new Error(`there is no heading ${heading}`)
  return behind.split(/^#+ /m)[0] ?? ''
}

/** The cells of the first table under `heading`, without its head; code marks are taken off. */
export function tableUnder(text: string, heading: string): string[][] {
  const [table] = /(?:^\|.*\n)+/m.exec(sectionUnder(text, heading)) ?? []
  if (table === undefined) throw new Error(`there is no table under ${heading}`)
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) => row.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim().replaceAll('`', '')))
}
