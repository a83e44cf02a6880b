import { type FileHandle, open } from 'node:fs/promises'
import { MillraceError } from '../../protocol/errors.ts'
import type { Delta, DownFrame, Gap, Opened } from '../../protocol/frames.ts'
import { FIRST_LINE, factsBlock, framesBlock, MAX_FILE, type RecordingFacts } from './recording-format.ts'
import { Redaction } from './redaction.ts'

/** The stream id of all frames of a recording. */
const SID = 1
/** Room for the end of a recording whose run goes on. */
const END_BYTES = goesOn(Number.MAX_SAFE_INTEGER).length

/**
 * Writes the frames of one run to a file, as a server sends them to a reader of the policy `log`. A frame that comes
 * again, as after a lost connection, is written once.
 */
export class RecordingWriter {
  readonly #path: string
  readonly #file: FileHandle
  readonly #redaction: Redaction | undefined
  /** The item that comes next. Undefined until the run is opened. */
  #next: number | undefined
  #items = 0
  #missing = 0
  #outcome: string | undefined
  readonly #maxBytes: number
  #bytes = 0
  #isFull = false
  #written: Promise<void> = Promise.resolve()
  #failure: unknown

  private constructor(path: string, file: FileHandle, redaction: Redaction | undefined, maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#path = path
    this.#file = file
    this.#redaction = redaction
  }

  /**
   * Creates the file, readable for its owner only.
   * @param facts With `redacted`, what clients sent to the run is left out, the given input and `meta` too.
   * @param maxBytes The most bytes of the file. Default: those that a replay reads.
   * @throws MillraceError `bad_request` when there is a file of this name already, or none can be made.
   */
  static async create(path: string, facts: RecordingFacts, maxBytes: number = MAX_FILE): Promise<RecordingWriter> {
    const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException
      const why = code === 'EEXIST' ? 'exists already' : `cannot be written (${code})`
      throw new MillraceError('bad_request', `${path} ${why}: choose another file with -o`)
    })
    const { input: _, meta: __, ...rest } = facts
    const writer = new RecordingWriter(path, file, facts.redacted ? new Redaction() : undefined, maxBytes)
    writer.#write(FIRST_LINE)
    writer.#write(factsBlock(facts.redacted ? rest : facts))
    return writer
  }

  /** The items that it has. */
  get items(): number {
    return this.#items
  }

  /** The items that the server no longer had. */
  get missing(): number {
    return this.#missing
  }

  /** How the run ended, once its end is recorded. */
  get outcome(): string | undefined {
    return this.#outcome
  }

  /** There was no room for the next frame. The recording ends before it. */
  get isFull(): boolean {
    return this.#isFull
  }

  /**
   * Takes a frame of the run, if there is room for it. Once there was none for one, it takes no further one.
   * @throws MillraceError `store_unavailable` for a run that was set back: what was recorded of it does not count any more.
   */
  take(frame: DownFrame): void {
    if (this.#isFull || this.#outcome !== undefined) return
    const [next, items, missing] = [this.#next, this.#items, this.#missing]
    const known = this.#known(frame)
    if (!known) return
    const block = framesBlock([this.#redaction?.apply(known) ?? known])
    const behind = known.kind === 'end' ? 0 : END_BYTES
    if (this.#bytes + block.length + behind <= this.#maxBytes) return this.#write(block)
    this.#isFull = true
    ;[this.#next, this.#items, this.#missing, this.#outcome] = [next, items, missing, undefined]
  }

  /** Resolves when all frames so far are in the file. @throws MillraceError `bad_request` when they cannot be written. */
  async written(): Promise<void> {
    await this.#written
    if (this.#failure === undefined) return
    const { code, message } = this.#failure as NodeJS.ErrnoException
    throw new MillraceError('bad_request', `${this.#path} cannot be written (${code ?? message})`)
  }

  /** Completes the file. A run that has not ended goes on behind the recording, which says so. */
  async close(): Promise<void> {
    if (this.#outcome === undefined && this.#next !== undefined) this.#write(goesOn(this.#next))
    try {
      await this.written()
    } finally {
      await this.#file.close()
    }
  }

  /** What a frame adds: nothing, all of it, or its last items. */
  #known(frame: DownFrame): DownFrame | undefined {
    switch (frame.kind) {
      case 'opened':
        return this.#next === undefined ? this.#opened(frame) : undefined
      case 'delta':
        return this.#texts(frame)
      case 'event':
        if (this.#next === undefined || frame.seq < this.#next) return undefined
        this.#took(frame.seq, 1)
        return { ...frame, sid: SID }
      case 'gap':
        return this.#gap(frame)
      case 'end':
        if (frame.seq === 0 || frame.outcome === 'unsubscribed') return undefined
        this.#outcome = frame.outcome
        return { ...frame, sid: SID }
      default:
        return undefined
    }
  }

  #opened(frame: Opened): DownFrame {
    this.#next = frame.next
    this.#missing = frame.next - 1
    const { run, next, gen, lanes } = frame
    return { kind: 'opened', sid: SID, run, next, gen, credit: 0, ...(lanes && { lanes }) }
  }

  #texts(frame: Delta): DownFrame | undefined {
    if (this.#next === undefined) return undefined
    const texts = typeof frame.body === 'string' ? [frame.body] : frame.body
    const fresh = texts.slice(Math.max(0, this.#next - frame.seq))
    if (fresh.length === 0) return undefined
    const seq = frame.seq + texts.length - fresh.length
    this.#took(seq, fresh.length)
    return { ...frame, sid: SID, seq, body: fresh.length === 1 ? fresh[0]! : fresh }
  }

  #gap(frame: Gap): DownFrame | undefined {
    if (this.#next === undefined || (frame.reason !== 'rewound' && frame.next <= this.#next)) return undefined
    if (frame.next < this.#next)
      throw new MillraceError(
        'store_unavailable',
        'the server has lost a part of the run that is recorded already: record it again',
      )
    const from = this.#next
    this.#missing += frame.next - from
    this.#next = frame.next
    return { kind: 'gap', sid: SID, from, next: frame.next, reason: frame.reason, ...lanesOf(frame) }
  }

  #took(seq: number, items: number): void {
    this.#next = seq + items
    this.#items += items
  }

  #write(bytes: Uint8Array): void {
    this.#bytes += bytes.length
    this.#written = this.#written.then(async () => {
      if (this.#failure !== undefined) return
      try {
        await this.#file.appendFile(bytes)
      } catch (error) {
        this.#failure = error
      }
    })
  }
}

/** The end of a recording whose run goes on behind it. */
function goesOn(next: number): Uint8Array {
  return framesBlock([{ kind: 'end', sid: SID, seq: next, outcome: 'unsubscribed', data: {} }])
}

function lanesOf({ lanes }: Gap): Pick<Gap, 'lanes'> {
  return lanes ? { lanes } : {}
}
