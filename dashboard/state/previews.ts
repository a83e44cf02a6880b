import type { Client, Run, StreamEvent } from 'millrace/client'
import { type FleetRun, isLive } from './fleet.ts'
import type { Latencies } from './latencies.ts'
import { createStore, type Store } from './store.ts'

/** The most runs that are read for the list at the same time. */
export const MAX_PREVIEWS = 48
/** What is kept of the text of one. */
const TAIL_CHARACTERS = 200
/** A run with fewer items is read from its beginning. */
const NEW_ITEMS = 64
/** What may be under way of one: a page that is frozen gets no more of it. */
const CREDIT = 16

type Preview = ReturnType<typeof createStore<string>>

/** One run that is read, until it is left. */
type Reading = { readonly run: Run; isLeft: boolean }

/**
 * The last words of the runs that are in view, as they come. Only those are read, with text that waits joined, one piece a
 * frame: whatever the page does, no run waits for it.
 */
export class Previews {
  readonly #client: Client
  readonly #latencies: Latencies
  readonly #texts = new Map<string, Preview>()
  readonly #readings = new Map<string, Reading>()
  readonly #nextFrame: () => Promise<unknown>

  /** @param nextFrame resolves when the page draws. */
  constructor(client: Client, latencies: Latencies, nextFrame: () => Promise<unknown>) {
    this.#client = client
    this.#latencies = latencies
    this.#nextFrame = nextFrame
  }

  /** The last words of a run, as far as it was read. */
  textOf(id: string): Store<string> {
    let text = this.#texts.get(id)
    if (!text) this.#texts.set(id, (text = createStore('')))
    return text
  }

  /** Reads these runs, and no others. */
  show(inView: readonly FleetRun[]): void {
    const wanted = new Map(
      inView
        .filter((run) => this.#mayRead(run))
        .slice(0, MAX_PREVIEWS)
        .map((run) => [run.id, run]),
    )
    for (const [id, reading] of this.#readings) if (!wanted.has(id)) this.#leave(id, reading)
    for (const run of wanted.values()) if (!this.#readings.has(run.id)) void this.#read(run)
    const inUse = new Set(inView.map(({ id }) => id))
    for (const id of this.#texts.keys()) if (!inUse.has(id) && this.#texts.size > 1_000) this.#texts.delete(id)
  }

  /** Leaves all runs. */
  close(): void {
    this.show([])
  }

  /**
   * Whether reading a run changes nothing for it. A reader of its own principal counts as one that is there: a run that
   * nobody else reads would not be ended as detached. Those that merge may be nobody but pages like this one.
   */
  #mayRead(run: FleetRun): boolean {
    const { live, isOwn, parent } = run
    if (!live || !isLive(run) || run.state === 'ended') return false
    if (!isOwn || parent !== undefined) return true
    return !live.detached && live.readers.some(({ own, policy }) => own && policy === 'pace')
  }

  #leave(id: string, reading: Reading): void {
    reading.isLeft = true
    reading.run.detach()
    this.#readings.delete(id)
  }

  async #read({ id, actor, startedAt, items }: FleetRun): Promise<void> {
    const isNew = items < NEW_ITEMS
    const after = isNew ? 'start' : 'live'
    const run = this.#client.attach(actor, id, { after, policy: 'merge', credit: CREDIT })
    const reading: Reading = { run, isLeft: false }
    this.#readings.set(id, reading)
    const text = this.textOf(id) as Preview
    // It is read from its beginning again.
    if (isNew) text.set('')
    let hasText = !isNew
    try {
      for await (const event of run) {
        if (reading.isLeft) return
        if (!hasText && event.type === 'token') {
          hasText = true
          this.#latencies.firstText.push(Date.now(), Math.max(0, event.at - startedAt))
        }
        const added = wordsOf(event)
        if (added === undefined) continue
        text.set(tail(text.get() + added))
        await this.#nextFrame()
      }
    } catch {
      // It ended, or cannot be read: the list says what became of it.
    }
    if (reading.isLeft) return
    this.#readings.delete(id)
    const end = await run.end.catch(() => undefined)
    if (end?.receipt) this.#latencies.cancel.push(Date.now(), end.receipt.ms)
  }
}

/** What an event adds to the last words of its run. */
function wordsOf(event: StreamEvent): string | undefined {
  switch (event.type) {
    case 'token':
      return event.text
    case 'tool.call':
      return ` [${event.name}] `
    case 'progress':
      return event.message === undefined ? undefined : ` ${event.message} `
    case 'step':
      return event.status === 'start' ? ` [${event.name}] ` : undefined
    default:
      return undefined
  }
}

function tail(text: string): string {
  return text.length <= TAIL_CHARACTERS ? text : text.slice(-TAIL_CHARACTERS)
}
