import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Log } from '../log/log.ts'
import type { Reader, Readers } from '../log/readers.ts'
import { type AttendingReader, packReaders } from './ask.ts'

/** How often a reader that moves is told, in milliseconds, unless it has moved far. */
const MOVED_MS = 100
/** The most readers that are told. Those beyond are not counted by the holder. */
const MOST_READERS = 200

/** What an attendance looks at. */
export type AttendanceParts = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: Log
  readonly readers: Readers
}

/** Tells the holder of a run who reads it in this process: who counts as present, and for whom the actor waits. */
export class Attendance {
  readonly #parts: AttendanceParts
  readonly #repeatMs: number
  readonly #tell: (readers: Uint8Array | undefined) => Promise<void>
  /** Whether the holder knows of any. */
  #isKnown = false
  #isTelling = false
  #isDue = false
  #isClosed = false
  /** How far the readers could go together when they were told last. */
  #told = 0
  #later: Timer | undefined
  #repeat: Timer | undefined

  /** @param leaseMs How long what was told holds. */
  constructor(parts: AttendanceParts, leaseMs: number, tell: (readers: Uint8Array | undefined) => Promise<void>) {
    this.#parts = parts
    this.#repeatMs = leaseMs / 3
    this.#tell = tell
  }

  /** A reader has joined or left. */
  changed(): void {
    this.#soon(0)
  }

  /** A reader for which the actor waits has moved, or takes more. */
  moved(): void {
    const far = this.#reach() - this.#told >= this.#parts.limits.maxCredit / 8
    this.#soon(far ? 0 : MOVED_MS)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#later?.clear()
    this.#repeat?.clear()
    if (this.#isKnown) this.#tell(undefined).catch(() => {})
  }

  #soon(ms: number): void {
    if (this.#isClosed) return
    if (ms > 0) {
      this.#later ??= this.#parts.runtime.setTimer(ms, () => this.#soon(0))
      return
    }
    this.#later?.clear()
    this.#later = undefined
    this.#isDue = true
    if (!this.#isTelling) this.#parts.runtime.nextTurn(() => void this.#tellAll())
  }

  async #tellAll(): Promise<void> {
    if (this.#isTelling) return
    this.#isTelling = true
    while (this.#isDue && !this.#isClosed) {
      this.#isDue = false
      const readers = this.#attending()
      if (readers.length === 0 && !this.#isKnown) continue
      this.#told = this.#reach()
      this.#isKnown = readers.length > 0
      // Told again before it is forgotten, so that one failure does no harm.
      await this.#tell(readers.length > 0 ? packReaders(readers) : undefined).catch(() => {})
    }
    this.#isTelling = false
    this.#repeat?.clear()
    if (this.#isKnown && !this.#isClosed)
      this.#repeat = this.#parts.runtime.setTimer(this.#repeatMs, () => this.#soon(0))
  }

  /** The readers that matter to the holder. Of those that are alike, and pace nothing, one is enough. */
  #attending(): AttendingReader[] {
    const told = new Map<string, AttendingReader>()
    for (const reader of this.#parts.readers) {
      const { own, client } = reader
      const answers = reader.answers ?? own
      const pace = reader.policy === 'pace' ? this.#paceOf(reader) : undefined
      if (!own && !answers && !pace) continue
      const name = pace ? `${told.size}` : `${own} ${answers} ${client ?? ''}`
      if (told.size < MOST_READERS || pace) told.set(name, { own, answers, client, pace })
    }
    return [...told.values()]
  }

  #paceOf(reader: Reader): AttendingReader['pace'] {
    const { cursor, paused } = reader
    // Its rate lets through what it lets through: the holder need not know why it takes no more.
    const balance = paused ? 0 : Math.max(0, Math.min(cursor.balance, Math.floor(reader.allowance())))
    return { last: cursor.last, gen: cursor.gen, balance }
  }

  /** The sum of the items up to which those that pace could go. */
  #reach(): number {
    let reach = 0
    for (const reader of this.#parts.readers) {
      const pace = reader.policy === 'pace' ? this.#paceOf(reader) : undefined
      if (pace) reach += pace.last + pace.balance
    }
    return reach
  }
}
