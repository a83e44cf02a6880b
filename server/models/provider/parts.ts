import { isUtf8 } from 'node:buffer'
import { MillraceError } from '../../../protocol/errors.ts'
import { bareType, type DataPart, type Part } from '../message-parts.ts'

// What adapters share to turn the parts of a message into the form of their provider.

/** Where a part stands in a request; each is counted from 0. */
export type PartPlace = { readonly message: number; readonly part: number }

type File = Extract<Part, { type: 'file' }>

/**
 * The bytes of a part.
 * @throws MillraceError `bad_request` for anything else in their place, such as what JSON makes of bytes.
 */
export function bytesOf({ data }: DataPart, place: PartPlace): Uint8Array {
  if ((data as unknown) instanceof Uint8Array) return data
  throw new MillraceError('bad_request', `${nameOf(place)} has no bytes: its \`data\` must be a Uint8Array`)
}

/**
 * The bytes of a part in base64.
 * @throws MillraceError `bad_request` as `bytesOf` does.
 */
export function base64(part: DataPart, place: PartPlace): string {
  const { buffer, byteOffset, byteLength } = bytesOf(part, place)
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64')
}

/**
 * The bytes of a part as an address of scheme `data:`.
 * @throws MillraceError `bad_request` as `bytesOf` does.
 */
export function dataURL(part: DataPart, place: PartPlace): string {
  return `data:${bareType(part.mediaType)};base64,${base64(part, place)}`
}

/**
 * A file of text as text with its name, for a provider that takes no such files.
 * @throws MillraceError `bad_request` for bytes that are not UTF-8.
 */
export function inlineText(part: File, place: PartPlace): string {
  const { name, mediaType } = part
  const bytes = bytesOf(part, place)
  const type = bareType(mediaType)
  if (!isUtf8(bytes)) throw new MillraceError('bad_request', `${nameOf(place)} is ${type}, but it is not text in UTF-8`)
  const title = (name ?? type).replaceAll(/["<>\p{Cc}]/gu, '_')
  // The text must not look like the end of its file.
  const text = new TextDecoder().decode(bytes).replaceAll(/<(?=\/file>)/gi, '&lt;')
  return `<file name="${title}">\n${text}\n</file>`
}

/**
 * The error for a part that a provider does not take, to be thrown before anything is sent.
 * @param provider such as `ollama`.
 * @param takes what it takes, for people: `images and files of text`.
 */
export function unsupportedPart(provider: string, part: Part, place: PartPlace, takes: string): MillraceError {
  const what = 'url' in part ? 'an image by its address' : part.type === 'text' ? 'text' : bareType(part.mediaType)
  return new MillraceError('bad_request', `${provider} does not take ${nameOf(place)} (${what}): it takes ${takes}`)
}

function nameOf({ message, part }: PartPlace): string {
  return `part ${part + 1} of message ${message + 1}`
}
