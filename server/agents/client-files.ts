import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Principal } from '../actors/principal.ts'
import { contradiction, DEFAULT_TYPES, FileTypes } from '../files/file-types.ts'
import type { Uploads } from '../files/uploads.ts'
import { bareType, type DataPart, type Part } from '../models/message-parts.ts'
import type { Message } from '../models/model.ts'

/** The images and files that clients may send to an agent. */
export type ClientFiles = {
  /**
   * The media types; `image/*` is every image. Default: PNG, JPEG, GIF, WebP, PDF, JSON, plain text, Markdown and CSV.
   */
  types?: readonly string[] | undefined
  /** Most bytes of the images and files of one conversation together. Default 20,971,520 (20 MiB). */
  maxBytes?: number | undefined
  /** Most images and files of one conversation together. Default 32. */
  maxParts?: number | undefined
  /**
   * The origins whose images a message may name by their address, such as `https://images.example.com`; true for every
   * `https:` address. The provider fetches them, and may reach what the client cannot: with a provider of your own, your
   * network. Default: none.
   */
  urls?: true | readonly string[] | undefined
  /** The uploads that messages may name. Register them with the server too. Default: none. */
  uploads?: Uploads | undefined
}

/** A part of a message as a client sends it: its bytes, or an upload that has them. */
export type ClientPart =
  | Part
  | { type: 'image'; upload: string }
  /** `name` takes the place of the upload's own. */
  | { type: 'file'; upload: string; name?: string | undefined }

/** A message as a client sends it. */
export type ClientMessage =
  | Exclude<Message, { role: 'user' }>
  | { role: 'user'; content: string | readonly ClientPart[] }

const OPTIONS: OptionKinds<ClientFiles> = {
  types: 'a list',
  maxBytes: 'a number',
  maxParts: 'a number',
  urls: 'anything',
  uploads: 'an object',
}

const MAX_URL_CHARACTERS = 2_048
/** In place of an upload of which only the form is checked. */
const UNREAD: Part = { type: 'text', text: '' }

/** What an agent accepts of clients besides text. */
export class FileRules {
  readonly types: FileTypes
  readonly maxBytes: number
  readonly maxParts: number
  readonly urls: true | readonly string[]
  readonly uploads: Uploads | undefined

  /**
   * @param given false: nothing.
   * @throws MillraceError `bad_request` for an unknown or invalid option.
   */
  constructor(given: ClientFiles | false = {}) {
    const options: ClientFiles = given === false ? { types: [], maxParts: 0 } : given
    checkOptions('files of agent()', options, OPTIONS)
    const { types = DEFAULT_TYPES, maxBytes = 20 * 1_048_576, maxParts = 32, urls = [], uploads } = options
    for (const [name, value] of Object.entries({ maxBytes, maxParts }))
      if (!Number.isSafeInteger(value) || value < 0)
        throw new MillraceError('bad_request', `files.${name} must be an integer of at least 0, not ${value}`)
    if (urls !== true && !(Array.isArray(urls) && urls.every(isOrigin)))
      throw new MillraceError(
        'bad_request',
        'files.urls must be true, or a list such as ["https://images.example.com"]',
      )
    this.types = new FileTypes(types)
    this.maxBytes = maxBytes
    this.maxParts = maxParts
    this.urls = urls
    this.uploads = uploads
  }
}

function isOrigin(text: unknown): boolean {
  return typeof text === 'string' && text.startsWith('https://') && URL.canParse(text) && new URL(text).origin === text
}

/** The images and files of one conversation: it checks each, counts all, and finds those that were uploaded. */
export class ConversationFiles {
  readonly #rules: FileRules
  readonly #principal: Principal | undefined
  /** Give the uploads of the conversation free. */
  #releases: (() => void)[] = []
  #bytes = 0
  #parts = 0

  /** @param principal Whose uploads are found. Undefined: of an upload only the form is checked. */
  constructor(rules: FileRules, principal?: Principal) {
    this.#rules = rules
    this.#principal = principal
  }

  /**
   * Messages of a client as models take them.
   * @throws MillraceError `invalid_input` for a part that the agent does not accept, and `not_found` for an unknown upload.
   */
  accept(messages: readonly ClientMessage[]): Message[] {
    return messages.map((message) =>
      message.role === 'user' ? { role: 'user', content: this.acceptContent(message.content) } : message,
    )
  }

  /** The same for the content of one message. */
  acceptContent(content: string | readonly ClientPart[]): string | Part[] {
    return typeof content === 'string' ? content : content.map((part) => this.#accept(part))
  }

  /** The conversation is over: its uploads no longer count for it. */
  release(): void {
    for (const release of this.#releases) release()
    this.#releases = []
  }

  #accept(part: ClientPart): Part {
    if (part.type === 'text') return part
    const { maxParts } = this.#rules
    if (++this.#parts > maxParts)
      throw refusal(maxParts === 0 ? 'this agent takes no images and no files' : `at most ${maxParts} images and files`)
    if ('url' in part) return this.#checkURL(part)
    const whole = 'upload' in part ? this.#find(part) : part
    if (!whole) return UNREAD
    const { mediaType, data } = whole
    const isImage = mediaType.toLowerCase().startsWith('image/')
    const wrong =
      part.type === 'image' && !isImage ? `an image cannot be of the type ${bareType(mediaType)}` : undefined
    const problem = wrong ?? this.#rules.types.problemOf(mediaType) ?? contradiction(mediaType, data)
    if (problem !== undefined) throw refusal(problem)
    this.#bytes += data.length
    if (this.#bytes > this.#rules.maxBytes)
      throw refusal(`the images and files of a conversation have at most ${this.#rules.maxBytes} bytes together`)
    // Models take every image as one, however the client names it.
    return isImage ? { type: 'image', mediaType, data } : whole
  }

  #checkURL(part: Extract<Part, { url: string }>): Part {
    const { urls } = this.#rules
    const url = part.url.length <= MAX_URL_CHARACTERS && URL.canParse(part.url) ? new URL(part.url) : undefined
    const isAllowed = url?.protocol === 'https:' && (urls === true || urls.includes(url.origin))
    if (!isAllowed) throw refusal('this agent takes no image by this address: send its bytes')
    if (url.username !== '' || url.password !== '') throw refusal('the address of an image must not have a password')
    // What was checked, and not what another parser makes of the text.
    return { type: 'image', url: url.href }
  }

  #find(part: Extract<ClientPart, { upload: string }>): DataPart | undefined {
    const { uploads } = this.#rules
    if (!uploads) throw refusal('this agent takes no uploads: send the bytes')
    if (!this.#principal) return undefined
    const { upload, release } = uploads.hold(this.#principal, part.upload)
    this.#releases.push(release)
    const { mediaType, data, name: own } = upload
    const name = ('name' in part ? part.name : undefined) ?? own
    return { type: 'file', mediaType, data, ...(name !== undefined && { name }) }
  }
}

function refusal(why: string): MillraceError {
  return new MillraceError('invalid_input', why)
}
