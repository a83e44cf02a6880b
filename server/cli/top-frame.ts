import type { Client, Run } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { Key } from './keys.ts'
import type { Frame } from './run-lists.ts'
import { cut, oneLine, type TableLine } from './run-table.ts'

/** The end of the text of a run that is kept, in UTF-16 units. */
const TAIL_CHARACTERS = 1_000
/** The credit of the reader of that text: it shows the end, and paces nobody. */
const TAIL_CREDIT = 64

const HELP = 'up/down choose · c cancel · p pause · r resume · q quit'

/** The run that is chosen on a live list, the end of its text, and what keys order of it. */
export class TopFrame implements Frame {
  readonly rows = 3
  readonly #client: Client
  readonly #changed: () => void
  #ids: readonly string[] = []
  #chosen: string | undefined
  #tail = ''
  #reader: Run | undefined
  /** What became of the last order. */
  #said = HELP

  /** @param changed Something is to be drawn. */
  constructor(client: Client, changed: () => void) {
    this.#client = client
    this.#changed = changed
  }

  around(lines: readonly TableLine[], columns: number): readonly TableLine[] {
    this.#ids = lines.flatMap(({ run }) => run ?? [])
    if (this.#chosen === undefined || !this.#ids.includes(this.#chosen)) this.#choose(this.#ids[0])
    const list = lines.map((line) =>
      line.run !== undefined && line.run === this.#chosen ? { ...line, kind: 'chosen' as const } : line,
    )
    const tail = endOf(oneLine(this.#tail), columns)
    return [
      ...list,
      { kind: 'names', text: '' },
      { kind: 'run', text: cut(tail, columns) },
      { kind: 'names', text: cut(oneLine(this.#said), columns) },
    ]
  }

  /** Takes a key. Returns false for the one that quits. */
  press(key: Key): boolean {
    switch (key) {
      case 'q':
        return false
      case 'up':
      case 'k':
        this.#move(-1)
        return true
      case 'down':
      case 'j':
        this.#move(1)
        return true
      case 'c':
        void this.#order('cancelled', async (run) => (await run.cancel()).confirmed)
        return true
      case 'p':
      case 'r': {
        const paused = key === 'p'
        void this.#order(paused ? 'paused' : 'resumed', async (run) => {
          await run.send('govern', { paused })
          return true
        })
        return true
      }
      default:
        return true
    }
  }

  /** Reads nothing any more. */
  close(): void {
    this.#reader?.detach()
    this.#reader = undefined
  }

  #move(by: number): void {
    const at = this.#chosen === undefined ? -1 : this.#ids.indexOf(this.#chosen)
    this.#choose(this.#ids[Math.min(this.#ids.length - 1, Math.max(0, at + by))])
    this.#changed()
  }

  #choose(id: string | undefined): void {
    if (id === this.#chosen) return
    this.close()
    this.#chosen = id
    this.#tail = ''
    if (id !== undefined) void this.#read(id)
  }

  /** Follows the text of a run. It may have ended, or belong to somebody whose runs this client may not read. */
  async #read(id: string): Promise<void> {
    const reader = this.#client.attach('', id, { after: 'live', policy: 'latest', credit: TAIL_CREDIT })
    this.#reader = reader
    try {
      for await (const event of reader) {
        if (this.#reader !== reader) return
        if (event.type !== 'token') continue
        this.#tail = `${this.#tail}${event.text}`.slice(-TAIL_CHARACTERS)
        this.#changed()
      }
    } catch {
      // The list says how a run ended.
    }
  }

  async #order(done: string, carryOut: (run: Run) => Promise<boolean>): Promise<void> {
    const id = this.#chosen
    if (id === undefined) return
    this.#said = `${id} is being ${done}`
    this.#changed()
    const run = this.#client.attach('', id, { after: 'live', credit: 0 })
    try {
      await run.opened
      const isDone = await carryOut(run)
      this.#said = isDone ? `${id} was ${done} · ${HELP}` : `${id} was not ${done}: it has ended, or takes no orders`
    } catch (error) {
      this.#said = `${id} was not ${done}: ${MillraceError.is(error) ? error.message : 'it failed'}`
    } finally {
      run.detach()
      this.#changed()
    }
  }
}

/** The end of a text. Its first character may be the second half of a pair, which is left out. */
function endOf(text: string, characters: number): string {
  return text.slice(-characters).replace(/^[\udc00-\udfff]/, '')
}
