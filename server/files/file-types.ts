import { isUtf8 } from 'node:buffer'
import { MillraceError } from '../../protocol/errors.ts'
import { bareType, isTextType } from '../models/message-parts.ts'

/** Types whose contents most models read, and none that a browser would run as a page. */
export const DEFAULT_TYPES: readonly string[] = [
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'application/pdf',
  'application/json',
  'text/plain',
  'text/markdown',
  'text/csv',
]

/** A media type without spaces; parameters such as `charset` may follow. */
export const MEDIA_TYPE: RegExp = /^[\w.+-]{1,64}\/[\w.+-]{1,64}(?:; ?[\w.+=";-]{1,64})?$/

/** Where the beginning of a PDF is searched for: readers accept some bytes before it. */
const PDF_HEAD_BYTES = 1_024

/** How the contents of a type begin. */
const SIGNATURES: { readonly [type: string]: (bytes: Buffer) => boolean } = {
  'image/png': (bytes) => bytes.subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')),
  'image/jpeg': (bytes) => bytes.subarray(0, 3).equals(Buffer.from('\xff\xd8\xff', 'latin1')),
  'image/gif': (bytes) => /^GIF8[79]a$/.test(bytes.toString('latin1', 0, 6)),
  'image/webp': (bytes) => /^RIFF[^]{4}WEBP$/.test(bytes.toString('latin1', 0, 12)),
  'application/pdf': (bytes) => bytes.subarray(0, PDF_HEAD_BYTES).includes('%PDF-'),
}

/** The types of images and files that are accepted. */
export class FileTypes {
  readonly #types: readonly string[]

  /**
   * @param types media types, and `image/*` for all of one kind.
   * @throws MillraceError `bad_request` for an entry that is neither.
   */
  constructor(types: readonly string[]) {
    const wrong = types.find((type) => type !== bareType(type) || !MEDIA_TYPE.test(type.replace(/\/\*$/, '/any')))
    if (wrong !== undefined)
      throw new MillraceError(
        'bad_request',
        `types: ${JSON.stringify(wrong)} is not a type such as image/png or image/*`,
      )
    this.#types = types
  }

  /** What is wrong with a type, if anything. */
  problemOf(mediaType: string): string | undefined {
    const type = bareType(mediaType)
    const isTaken = this.#types.some((one) => one === type || (one.endsWith('/*') && type.startsWith(one.slice(0, -1))))
    return isTaken ? undefined : `the type ${type} is not accepted; accepted: ${this.#types.join(', ') || 'none'}`
  }
}

/**
 * Why bytes cannot be of the type that a client states, if so. It looks at the beginning of images and PDF, and at all
 * bytes of text. Bytes of other types are not known.
 */
export function contradiction(mediaType: string, data: Uint8Array): string | undefined {
  const type = bareType(mediaType)
  const signature = Object.hasOwn(SIGNATURES, type) ? SIGNATURES[type] : undefined
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (signature && !signature(bytes)) return `the bytes are not of the type ${type}`
  return isTextType(type) && !isUtf8(bytes) ? `the bytes are not text in UTF-8, as the type ${type} says` : undefined
}
