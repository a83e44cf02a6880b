import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { UploadInput, UploadProgress, UploadReference } from '../../protocol/upload.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import type { ServerView } from '../actors/server-view.ts'
import { bareType } from '../models/message-parts.ts'
import { DEFAULT_TYPES, FileTypes, MEDIA_TYPE } from './file-types.ts'
import { KeptUploads } from './kept-uploads.ts'
import { receive, type UploadEvent } from './upload-receiver.ts'
import { type Upload, UploadMemory } from './upload-store.ts'

/** The options of `uploads()`. */
export type UploadsOptions = {
  /**
   * The media types that clients may upload; `image/*` is every image. Default: PNG, JPEG, GIF, WebP, PDF, JSON, plain
   * text, Markdown and CSV.
   */
  types?: readonly string[] | undefined
  /** Most bytes of one upload. Default 20,971,520 (20 MiB). */
  maxBytes?: number | undefined
  /** Most bytes of all uploads of one principal, complete or under way. Default 67,108,864 (64 MiB). */
  maxBytesPerPrincipal?: number | undefined
  /** Most bytes of all uploads. They are kept in memory. Default 268,435,456 (256 MiB). */
  maxBytesTotal?: number | undefined
  /** How long a complete upload is kept, in milliseconds. Default 3,600,000 (1 hour). */
  expiryMs?: number | undefined
  /** How long an upload may wait for its next piece, in milliseconds. Default 300,000. */
  idleMs?: number | undefined
}

const OPTIONS: OptionKinds<UploadsOptions> = {
  types: 'a list',
  maxBytes: 'a number',
  maxBytesPerPrincipal: 'a number',
  maxBytesTotal: 'a number',
  expiryMs: 'a number',
  idleMs: 'a number',
}

const DEFAULTS = {
  maxBytes: 20 * 1_048_576,
  maxBytesPerPrincipal: 64 * 1_048_576,
  maxBytesTotal: 256 * 1_048_576,
  expiryMs: 3_600_000,
  idleMs: 300_000,
}

/** The longest timer of Node. */
const MAX_MS = 2 ** 31 - 1
const MAX_NAME_CHARACTERS = 256
/** Ids have 128 random bits, so that nobody can guess an upload. */
const ID_BYTES = 16

/** The actor that `uploads()` makes. */
export interface Uploads extends Actor<UploadInput, UploadReference | null, { name: 'upload'; value: UploadProgress }> {
  /**
   * Finds a complete upload, for an actor that reads it itself.
   * @param principal The principal of the run. It finds its own uploads only.
   * @param id What the client got as `upload`.
   * @throws MillraceError `not_found` for an unknown id, an expired upload and one of another principal.
   */
  read(principal: Principal, id: string): Upload
  /**
   * Finds a complete upload whose bytes stay in use. They count as its owner's until `release` is called, also when the
   * upload expires or is removed before. Call it once.
   * @throws MillraceError `not_found` as `read` does.
   */
  hold(principal: Principal, id: string): { upload: Upload; release: () => void }
  /**
   * Removes a complete upload. Bytes that are held stay until they are released. An unknown id, an expired upload and one
   * of another principal change nothing.
   */
  remove(principal: Principal, id: string): void
}

/**
 * Makes an actor that takes uploads of clients: images and files that are larger than one message may be. Register it,
 * and pass it to the agents whose messages may name uploads: `agent({ files: { uploads } })`.
 *
 * A run takes one upload in pieces. It ends with a reference, which is good for `expiryMs`. A client that sends faster
 * than the server takes is held back. An upload that is cancelled, or waits longer than `idleMs`, is dropped. Uploads
 * are kept in memory and do not survive the server.
 * @throws MillraceError `bad_request` for an unknown or invalid option.
 */
export function uploads(options: UploadsOptions = {}): Uploads {
  checkOptions('uploads()', options, OPTIONS)
  const settings = { ...DEFAULTS, types: DEFAULT_TYPES }
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 1))
      throw new MillraceError('bad_request', `${name} must be an integer of at least 1, not ${String(value)}`)
    Object.assign(settings, { [name]: value })
  }
  for (const name of ['expiryMs', 'idleMs'] as const)
    if (settings[name] > MAX_MS) throw new MillraceError('bad_request', `${name} must be at most ${MAX_MS}`)
  const kept = new KeptUploads(new UploadMemory(), settings)
  const description = 'Takes an upload in pieces, and answers with a reference for messages.'
  const input = inputOf(settings.maxBytes, new FileTypes(settings.types))
  const made = actor({
    description,
    interactive: true,
    input,
    async *stream(): AsyncGenerator<UploadEvent, UploadReference | null> {
      yield* []
      throw new MillraceError(
        'bad_request',
        'uploads must be an actor of a server: register it with createServer({ actors: { uploads: uploads() } })',
      )
    },
  })
  return {
    ...made,
    read: (principal, id) => kept.read(principal, id),
    hold: (principal, id) => kept.hold(principal, id),
    remove: (principal, id) => kept.drop(principal, id),
    onRegister: (view) => ({
      ...actor({
        description,
        interactive: true,
        input,
        stored: false,
        stream: (asked, context) => take(asked, context, kept, settings, view),
      }),
      listed: false,
    }),
  }
}

async function* take(
  asked: UploadInput,
  context: ActorContext,
  kept: KeptUploads,
  { expiryMs, idleMs }: Pick<typeof DEFAULTS, 'expiryMs' | 'idleMs'>,
  { runtime, limits }: ServerView,
): AsyncGenerator<UploadEvent, UploadReference | null> {
  const { principal } = context
  if ('remove' in asked) {
    kept.remove(principal, asked.remove)
    return null
  }
  const { size, name } = asked
  const mediaType = bareType(asked.type)
  const release = kept.reserve(principal, size)
  let isKept = false
  try {
    const data = yield* receive({ size, mediaType }, context, { runtime, limits, idleMs })
    const id = `u_${Buffer.from(runtime.randomBytes(ID_BYTES)).toString('base64url')}`
    const expiresAt = runtime.wallClock() + expiryMs
    kept.keep({ id, principal: principal.id, mediaType, data, name, expiresAt }, runtime, release)
    isKept = true
    return { upload: id, mediaType, size, expiresAt }
  } finally {
    if (!isKept) release()
  }
}

function inputOf(maxBytes: number, types: FileTypes): z.ZodType<UploadInput, UploadInput> {
  const announced = z
    .strictObject({
      type: z.string().regex(MEDIA_TYPE, 'expected a media type such as image/png'),
      size: z.int().min(1).max(maxBytes, `an upload has at most ${maxBytes} bytes`),
      name: z.string().min(1).max(MAX_NAME_CHARACTERS).optional(),
    })
    .check(({ value, issues }) => {
      const message = types.problemOf(value.type)
      if (message !== undefined) issues.push({ code: 'custom', input: value, path: ['type'], message })
    })
  const removal = z.strictObject({ remove: z.string() })
  // A union would report the failure of a member only as that of the whole.
  return z.custom<UploadInput>().transform((given, context): UploadInput => {
    const isRemoval = typeof given === 'object' && given !== null && 'remove' in given
    const { data, error } = (isRemoval ? removal : announced).safeParse(given)
    for (const { message, path } of error?.issues ?? []) context.addIssue({ code: 'custom', message, path })
    return data ?? z.NEVER
  })
}
