import { type FileHandle, open } from 'node:fs/promises'
import { MillraceError } from '../../protocol/errors.ts'
import { EVENT, fromWire, textEvent } from '../../protocol/events.ts'
import type { DownFrame, OpenLane, WireMap } from '../../protocol/frames.ts'
import { type RecordedContent, RecordedEnd, RecordedItem } from '../log/recorded.ts'
import {
  checkFirstLine,
  FIRST_LINE,
  LENGTH_BYTES,
  MAX_BLOCK,
  MAX_FILE,
  type RecordingFacts,
  readFacts,
  readFrames,
} from './recording-format.ts'

/** The bytes that are read from the file at once. */
const CHUNK_BYTES = 262_144

/** What a recording has, one after the other: its items, and how the run ended. */
export type RecordingEntry =
  | { readonly item: RecordedItem; readonly seq: number; readonly at: number }
  | { readonly end: RecordedEnd }

/** A recorded run, in a file. Made by `openRecording`. Its items are read from the file when they are asked for. */
export class Recording {
  /** The file. */
  readonly path: string
  /** The id of the run. */
  readonly run: string
  /** What is known of it besides what it said. */
  readonly facts: RecordingFacts
  /** The number of its items. */
  readonly items: number
  /** How the run ended. Undefined: it went on when the recording ended. */
  readonly outcome: RecordedEnd['outcome'] | undefined

  private constructor(path: string, facts: RecordingFacts, summary: Pick<Recording, 'run' | 'items' | 'outcome'>) {
    this.path = path
    this.facts = facts
    this.run = summary.run
    this.items = summary.items
    this.outcome = summary.outcome
  }

  /** Reads a recording once, to the end. @throws MillraceError as `openRecording` does. */
  static async open(path: string): Promise<Recording> {
    const reader = new RecordingReader(path)
    let items = 0
    for await (const entry of reader.entries()) if ('item' in entry) items++
    const { run, facts, outcome } = reader
    return new Recording(path, facts!, { run, items, outcome })
  }

  /** The items and the end, read from the file. @throws MillraceError `bad_request` when the file has changed since. */
  entries(): AsyncGenerator<RecordingEntry, void> {
    return new RecordingReader(this.path).entries()
  }
}

/**
 * Opens a recording that `millrace record` has made, and reads it once to check all of it.
 * @param path The file.
 * @throws MillraceError `not_found` when there is no such file; `bad_request` when it is no recording, is damaged or cut
 *   off, is larger than 1 GiB, or was made by a newer release.
 */
export function openRecording(path: string): Promise<Recording> {
  return Recording.open(path)
}

/** Reads a file from its beginning to its end, and checks that each item follows the one before. */
class RecordingReader {
  readonly #path: string
  facts: RecordingFacts | undefined
  run = ''
  outcome: RecordedEnd['outcome'] | undefined
  #next = 0
  #at = 0
  #isOver = false
  /** The open lanes by number, with the data of their `lane.start`. */
  readonly #lanes = new Map<unknown, WireMap>()

  constructor(path: string) {
    this.#path = path
  }

  async *entries(): AsyncGenerator<RecordingEntry, void> {
    const file = await this.#open()
    try {
      for await (const block of this.#blocks(file)) {
        if (!this.facts) {
          this.facts = readFacts(block, (what) => this.#damaged(what))
          continue
        }
        for (const frame of readFrames(block, (what) => this.#damaged(what))) yield* this.#take(frame)
      }
    } finally {
      await file.close()
    }
    if (!this.#isOver) throw this.#cut()
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT')
        throw new MillraceError('not_found', `${this.#path} does not exist: check the path of the recording`)
      throw new MillraceError('bad_request', `${this.#path} cannot be read (${code})`)
    })
    try {
      const stat = await file.stat()
      if (!stat.isFile()) throw new MillraceError('bad_request', `${this.#path} is not a file`)
      if (stat.size > MAX_FILE)
        throw new MillraceError('bad_request', `${this.#path} is larger than ${MAX_FILE / 1_048_576} MiB`)
      return file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** The blocks, each valid until the next is asked for. */
  async *#blocks(file: FileHandle): AsyncGenerator<Uint8Array, void> {
    let rest = Buffer.alloc(0)
    let isBegun = false
    for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: CHUNK_BYTES })) {
      rest = Buffer.concat([rest, chunk as Buffer])
      if (!isBegun) {
        checkFirstLine(rest, this.#path)
        rest = rest.subarray(FIRST_LINE.length)
        isBegun = true
      }
      while (rest.length >= LENGTH_BYTES) {
        const length = rest.readUInt32BE()
        if (length === 0 || length > MAX_BLOCK) throw this.#damaged(`a part of it says that it has ${length} bytes`)
        if (rest.length < LENGTH_BYTES + length) break
        yield rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length)
        rest = rest.subarray(LENGTH_BYTES + length)
      }
    }
    if (!isBegun) checkFirstLine(rest, this.#path)
    if (rest.length > 0) throw this.#cut()
  }

  *#take(frame: DownFrame): Generator<RecordingEntry, void> {
    if (this.#isOver) throw this.#damaged('something follows the end of its run')
    if ((frame.kind === 'opened') !== (this.#next === 0)) throw this.#damaged('its run is not opened once, at first')
    switch (frame.kind) {
      case 'opened':
        this.run = frame.run
        this.#next = Math.max(1, frame.next)
        yield* this.#openLanes(frame.lanes)
        return
      case 'delta': {
        const texts = typeof frame.body === 'string' ? [frame.body] : frame.body
        if (frame.count !== undefined) throw this.#damaged('texts of several items are merged in it')
        if (frame.lane !== 0 && !this.#lanes.has(frame.lane))
          throw this.#damaged('a text is on a lane that is not open')
        for (const [index, text] of texts.entries())
          yield this.#item(frame.seq + index, frame.ts, { lane: frame.lane, text })
        return
      }
      case 'event':
        yield this.#item(frame.seq, frame.ts, { type: frame.type, data: frame.data })
        return
      case 'gap':
        if (frame.next < this.#next) throw this.#damaged('its run was set back')
        this.#next = frame.next
        yield* this.#openLanes(frame.lanes)
        return
      case 'end':
        if (frame.seq !== this.#next) throw this.#damaged(`item ${this.#next} is missing before the end`)
        this.#isOver = true
        yield { end: this.#endOf(frame) }
        return
      default:
        throw this.#damaged(`it has a frame of the type ${frame.kind}`)
    }
  }

  #item(seq: number, ts: number | undefined, content: RecordedContent): RecordingEntry {
    if (seq !== this.#next) throw this.#damaged(`item ${this.#next} is missing`)
    this.#next = seq + 1
    // A clock may have been set back.
    this.#at = Math.max(this.#at, ts ?? 0)
    return { item: this.#recorded(content), seq, at: this.#at }
  }

  #recorded(content: RecordedContent): RecordedItem {
    if ('text' in content) return new RecordedItem(content, textEvent(this.#lanes.get(content.lane), content.text))
    const { type, data } = content
    if (type === EVENT.laneStart) this.#openLane(data)
    if (type === EVENT.laneEnd) this.#lanes.delete(data['lane'])
    return new RecordedItem(content, fromWire(type, data))
  }

  #openLane(data: WireMap): void {
    const { lane } = data
    if (!Number.isSafeInteger(lane) || (lane as number) < 1 || this.#lanes.has(lane))
      throw this.#damaged('a lane in it is opened twice, or has no number')
    this.#lanes.set(lane, data)
  }

  /** Lanes that were open where items are missing begin here. */
  *#openLanes(open: readonly OpenLane[] = []): Generator<RecordingEntry, void> {
    for (const [lane, data] of open) {
      if (this.#lanes.has(lane)) continue
      const content = { type: EVENT.laneStart, data: { ...data, lane } }
      yield { item: this.#recorded(content), seq: this.#next, at: this.#at }
    }
  }

  #endOf({ outcome, data }: Extract<DownFrame, { kind: 'end' }>): RecordedEnd {
    if (outcome === 'unsubscribed') return new RecordedEnd('error', WENT_ON.toJSON())
    this.outcome = outcome
    return new RecordedEnd(outcome, data)
  }

  #cut(): MillraceError {
    return new MillraceError('bad_request', `${this.#path} is cut off: the end of the recording is missing`)
  }

  #damaged(what: string): MillraceError {
    return new MillraceError('bad_request', `${this.#path} is damaged: ${what}`)
  }
}

const WENT_ON = new MillraceError('interrupted', 'the recording ends here, and the run went on')
