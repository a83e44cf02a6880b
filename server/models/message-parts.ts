/** One part of a user's message, beside text an image or a file. `mediaType` is the type of its bytes: `image/png`. */
export type Part =
  | { type: 'text'; text: string }
  | { type: 'image'; mediaType: string; data: Uint8Array }
  /** An image that the provider fetches; millrace never does. */
  | { type: 'image'; url: string }
  /** `name` is for the model. */
  | { type: 'file'; mediaType: string; data: Uint8Array; name?: string | undefined }

/** A part that has its bytes. */
export type DataPart = Extract<Part, { data: Uint8Array }>

/** What a message of any role has. */
type Contained = { readonly content: string | readonly Part[] }

/** The text of a message: its content, or the texts among its parts, each on lines of its own. */
export function textOf({ content }: Contained): string {
  if (typeof content === 'string') return content
  return content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}

/** The parts of a message that are no text. */
export function filesOf({ content }: Contained): Exclude<Part, { type: 'text' }>[] {
  return typeof content === 'string' ? [] : content.filter((part) => part.type !== 'text')
}

/** Media types besides `text/*` whose bytes are text. */
const TEXTS: ReadonlySet<string> = new Set([
  'application/json',
  'application/xml',
  'application/yaml',
  'application/x-yaml',
  'application/toml',
  'application/javascript',
  'application/sql',
  'application/x-ndjson',
])

/** A media type without its parameters, in lower case: `text/plain` of `text/plain; charset=utf-8`. */
export function bareType(mediaType: string): string {
  return mediaType.replace(/;.*$/s, '').trim().toLowerCase()
}

/** Whether bytes of this type are text, which a model can read without support for files. */
export function isTextType(mediaType: string): boolean {
  const type = bareType(mediaType)
  return type.startsWith('text/') || TEXTS.has(type) || /\+(?:json|xml|yaml)$/.test(type)
}
