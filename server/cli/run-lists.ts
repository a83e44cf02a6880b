import type { InspectedRun, InspectorChanges, InspectorState } from '../../protocol/inspector.ts'
import type { Output } from './output.ts'
import { runTable, type TableLine } from './run-table.ts'

/** Time for which an ended run stays on the live list, in milliseconds. */
const LINGER_MS = 4_000
/** Interval of the redraws that keep ages current, in milliseconds. */
const REDRAW_MS = 1_000

/** A way to show a list of runs. */
export interface RunList {
  /** Starts a new list. @param own The id of the inspector's own run, which is not shown. */
  begin(state: InspectorState, own: string): void
  /** Shows changes of the list. Resolves when stdout has room for more. */
  show(changes: InspectorChanges): Promise<void>
  /** Ends the output. */
  close(): void
}

/** Selects the runs to show: all but the inspector's own, or those of one actor. */
class Choice {
  #state: InspectorState | undefined
  #own = ''
  readonly #actor: string | undefined

  constructor(actor: string | undefined) {
    this.#actor = actor
  }

  begin(state: InspectorState, own: string): void {
    this.#state = state
    this.#own = own
  }

  get state(): InspectorState | undefined {
    return this.#state
  }

  /** Whether the runs of all actors are shown. */
  get isAll(): boolean {
    return this.#actor === undefined
  }

  has({ id, actor }: InspectedRun): boolean {
    return id !== this.#own && (this.#actor === undefined || actor === this.#actor)
  }

  lines(ended: Iterable<InspectedRun>, now: number, size: { columns?: number; rows?: number }): TableLine[] {
    const state = this.#state
    if (!state) return []
    const runs = [...state.runs.values(), ...ended].filter((run) => this.has(run))
    const sessions = [...state.sessions.values()]
    return runTable({ runs, sessions, ownOnly: state.scope === 'own', now, ...size })
  }
}

/** Prints the whole list once. */
export class WholeList implements RunList {
  readonly #output: Output
  readonly #choice: Choice

  constructor(output: Output, actor: string | undefined) {
    this.#output = output
    this.#choice = new Choice(actor)
  }

  begin(state: InspectorState, own: string): void {
    this.#choice.begin(state, own)
  }

  async show(): Promise<void> {
    const { state } = this.#choice
    if (!state || state.isPartial) return
    const size = this.#output.screen
    const lines = this.#choice.lines([], state.at, size ? { columns: size.columns } : {})
    await this.#output.answer(lines.map(({ text }) => `${text}\n`).join(''))
  }

  close(): void {}
}

/** Prints each change as a line of JSON. */
export class JsonList implements RunList {
  readonly #output: Output
  readonly #choice: Choice

  constructor(output: Output, actor: string | undefined) {
    this.#output = output
    this.#choice = new Choice(actor)
  }

  begin(state: InspectorState, own: string): void {
    this.#choice.begin(state, own)
  }

  async show({ runs, sessions, goneRuns, goneSessions }: InspectorChanges): Promise<void> {
    const at = this.#choice.state?.at
    const gone = new Set(goneRuns.map(({ id }) => id))
    const has = (run: InspectedRun): boolean => this.#choice.has(run)
    const lines = [
      ...runs.filter((run) => has(run) && !gone.has(run.id)).map((run) => ({ at, type: 'run', ...run })),
      ...goneRuns.filter(has).map((run) => ({ at, type: 'run.gone', ...run })),
      ...(this.#choice.isAll ? sessions.map((session) => ({ at, type: 'session', ...session })) : []),
      ...(this.#choice.isAll ? goneSessions.map((session) => ({ at, type: 'session.gone', ...session })) : []),
    ]
    await this.#output.answer(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }

  close(): void {}
}

/** What is drawn around the lines of a live list, by a command that has more than the list. */
export interface Frame {
  /** How many lines it needs below the list. */
  readonly rows: number
  /** The lines as they are drawn, with those below. None may be wider than `columns`. */
  around(lines: readonly TableLine[], columns: number): readonly TableLine[]
}

/** Draws the list, and redraws it in place when it changes. */
export class LiveList implements RunList {
  readonly #output: Output
  readonly #choice: Choice
  /** Ended runs that are still shown, and the time when they disappear. */
  readonly #ended = new Map<string, { run: InspectedRun; until: number }>()
  readonly #timer: NodeJS.Timeout
  /** The lead of the server's clock over this one, in milliseconds. */
  #aheadMs = 0
  #isClosed = false
  readonly #isLive: () => boolean
  readonly #frame: Frame | undefined

  /** @param isLive Whether the client is connected. Without a connection, nothing is redrawn. */
  constructor(output: Output, actor: string | undefined, isLive: () => boolean, frame?: Frame) {
    this.#isLive = isLive
    this.#frame = frame
    this.#output = output
    this.#choice = new Choice(actor)
    this.#timer = setInterval(() => this.redraw(), REDRAW_MS)
  }

  begin(state: InspectorState, own: string): void {
    this.#choice.begin(state, own)
  }

  async show({ goneRuns }: InspectorChanges): Promise<void> {
    for (const run of goneRuns) this.#ended.set(run.id, { run, until: performance.now() + LINGER_MS })
    const { state } = this.#choice
    if (!state || state.isPartial) return
    this.#aheadMs = state.at - Date.now()
    await this.#draw()
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#output.endDrawing()
  }

  /** Draws the list as it is now, with what has changed around it. */
  redraw(): void {
    if (this.#isLive()) void this.#draw()
  }

  async #draw(): Promise<void> {
    const { screen } = this.#output
    const { state } = this.#choice
    if (this.#isClosed || !screen || !state || state.isPartial) return
    const now = performance.now()
    for (const [id, { until }] of this.#ended) if (until <= now) this.#ended.delete(id)
    const ended = [...this.#ended.values()].map(({ run }) => run)
    // The last row of the screen is for the cursor.
    const { columns } = screen
    const size = { columns, rows: Math.max(1, screen.rows - 1 - (this.#frame?.rows ?? 0)) }
    const list = this.#choice.lines(ended, Date.now() + this.#aheadMs, size)
    const lines = (this.#frame?.around(list, columns) ?? list).slice(0, Math.max(1, screen.rows - 1))
    await this.#output.draw(lines.map(({ text, kind }) => this.#output.paint(STYLES[kind], text)))
  }
}

const STYLES: { readonly [Kind in TableLine['kind']]: string | undefined } = {
  totals: '1',
  names: '2',
  run: undefined,
  gated: '33',
  ended: '2',
  failed: '31',
  chosen: '7',
}
