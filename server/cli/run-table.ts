import type { InspectedReader, InspectedRun, InspectedSession } from '../../protocol/inspector.ts'
import { printable } from './output.ts'

export type TableOptions = {
  runs: readonly InspectedRun[]
  sessions: readonly InspectedSession[]
  /** The list has only runs and sessions of the reader's own principal. */
  ownOnly: boolean
  /** The time of the server's clock, in epoch milliseconds. */
  now: number
  /** The width and height to fit into. Default: no limit. */
  columns?: number | undefined
  rows?: number | undefined
}

/** A line of the table, and its kind. */
export type TableLine = {
  readonly text: string
  readonly kind: 'totals' | 'names' | 'run' | 'gated' | 'ended' | 'failed' | 'chosen'
  /** The id of the run that it shows. */
  readonly run?: string
}

/** One row of text cells. */
type TableRow = { readonly [Name in ColumnName]: string }
type ColumnName = (typeof COLUMNS)[number]['name']

/**
 * The columns in order. If the width is too small, columns with a high `yields` go first. The run's id always stays.
 */
const COLUMNS = [
  { name: 'run', yields: 0 },
  { name: 'actor', yields: 1 },
  { name: 'state', yields: 2 },
  { name: 'rate', yields: 3, isNumber: true },
  { name: 'lag', yields: 4, isNumber: true },
  { name: 'credit', yields: 7, isNumber: true },
  { name: 'readers', yields: 6, isNumber: true },
  { name: 'age', yields: 5, isNumber: true },
  { name: 'node', yields: 9 },
  { name: 'owner', yields: 8 },
] as const

const GAP = '  '
/** Enough of the name of a server to tell it from others. */
const NODE_CHARACTERS = 6
/** Width to which the cell of a name is shortened if the table is too wide. */
const SHORT_NAME = 16

/** The list of runs as a table: totals, then one line per run, newest first, each followed by its children. */
export function runTable(options: TableOptions): TableLine[] {
  const { runs, now, columns = Number.POSITIVE_INFINITY, rows = Number.POSITIVE_INFINITY } = options
  const lines: TableLine[] = [{ kind: 'totals', text: totals(options) }]
  if (runs.length > 0) {
    const placed = inOrder(runs)
    const shown = placed.length + 2 <= rows ? placed : placed.slice(0, Math.max(0, rows - 3))
    const hasNodes = runs.some(({ node }) => node !== undefined)
    const cells = shown.map(({ run, depth }) => rowOf(run, depth, now, hasNodes))
    const write = writer(cells, columns)
    lines.push({ kind: 'names', text: write(NAMES) })
    shown.forEach(({ run }, i) => lines.push({ kind: kindOf(run), text: write(cells[i] as TableRow), run: run.id }))
    const hidden = placed.length - shown.length
    if (hidden > 0) lines.push({ kind: 'names', text: `and ${hidden} more` })
  }
  return lines.slice(0, rows).map(({ text, ...line }) => ({ ...line, text: cut(text, columns) }))
}

const NAMES = Object.fromEntries(COLUMNS.map(({ name }) => [name, name.toUpperCase()])) as TableRow

function totals({ runs, sessions, ownOnly }: TableOptions): string {
  const live = runs.filter(({ state }) => state !== 'ended')
  const gated = live.filter((run) => run.gated).length
  const detached = live.filter((run) => run.detached).length
  const lost = sessions.filter(({ connected }) => !connected).length
  const sum = (of: (run: InspectedRun) => number): number => live.reduce((all, run) => all + of(run), 0)
  return [
    `${counted(live.length, 'run')}${ownOnly ? ' of yours' : ''}`,
    ...(gated > 0 ? [`${gated} gated`] : []),
    ...(detached > 0 ? [`${detached} detached`] : []),
    counted(sessions.length, 'session'),
    ...(lost > 0 ? [`${lost} not connected`] : []),
    `${figure(sum(({ itemsPerSec }) => itemsPerSec))} items/s`,
    `${bytes(sum(({ bytesPerSec }) => bytesPerSec))}/s`,
  ].join(' · ')
}

/** The runs, newest first. Children follow their parent, in the order of their start. */
function inOrder(runs: readonly InspectedRun[]): { run: InspectedRun; depth: number }[] {
  const known = new Set(runs.map(({ id }) => id))
  const children = new Map<string, InspectedRun[]>()
  const roots: InspectedRun[] = []
  for (const run of runs) {
    const list = run.parent !== undefined && known.has(run.parent) ? (children.get(run.parent) ?? []) : roots
    if (list !== roots) children.set(run.parent!, list)
    list.push(run)
  }
  const placed: { run: InspectedRun; depth: number }[] = []
  // A stack: its last element is the next run.
  const left = roots
    .sort((a, b) => b.startedAt - a.startedAt)
    .reverse()
    .map((run) => ({ run, depth: 0 }))
  for (let next = left.pop(); next; next = left.pop()) {
    placed.push(next)
    const { run, depth } = next
    const started = children.get(run.id)?.sort((a, b) => a.startedAt - b.startedAt) ?? []
    for (const child of started.reverse()) left.push({ run: child, depth: depth + 1 })
  }
  return placed
}

function rowOf(run: InspectedRun, depth: number, now: number, hasNodes: boolean): TableRow {
  const isElsewhere = run.node !== undefined
  const reader = slowest(run.readers)
  return {
    run: run.id,
    actor: `${depth > 0 ? `${'  '.repeat(depth - 1)}└ ` : ''}${oneLine(run.actor)}`,
    state: stateWords(run),
    rate: run.itemsPerSec > 0 ? `${figure(run.itemsPerSec)}/s` : '-',
    lag: reader ? String(reader.lag) : '-',
    credit: reader ? String(reader.credit) : '-',
    readers: isElsewhere ? '-' : String(run.readerCount),
    age: age(now - run.startedAt),
    node: !hasNodes ? '' : isElsewhere ? run.node.slice(0, NODE_CHARACTERS) || '-' : 'here',
    owner: principalWords(run.principal),
  }
}

/** The reader that is furthest behind: among the readers that the actor waits for, or else among all. */
function slowest(readers: readonly InspectedReader[]): InspectedReader | undefined {
  const pacing = readers.filter(({ policy }) => policy === 'pace')
  const [first, ...others] = pacing.length > 0 ? pacing : readers
  return first && others.reduce((slow, reader) => (reader.lag > slow.lag ? reader : slow), first)
}

/** The state of a run in words. `gated` and `detached` replace `running` and follow any other state. */
function stateWords({ state, outcome, gated, detached, readers }: InspectedRun): string {
  const words = [
    ...(outcome !== undefined ? [outcome] : state === 'running' ? [] : [state === 'waiting_input' ? 'waiting' : state]),
    ...(gated ? ['gated'] : []),
    ...(readers.length > 0 && readers.every(({ perSec }) => perSec === 0) ? ['paused'] : []),
    ...(detached ? ['detached'] : []),
  ]
  return words.join(', ') || 'running'
}

function kindOf({ outcome, gated }: InspectedRun): TableLine['kind'] {
  if (outcome !== undefined) return outcome === 'error' ? 'failed' : 'ended'
  return gated ? 'gated' : 'run'
}

/** The name of a principal. That of runs from inside the server is in parentheses. */
function principalWords(id: string): string {
  return id.startsWith('\u0000') ? `(${oneLine(id.slice(1))})` : oneLine(id)
}

/** Makes the function that writes a row within the width: it shortens names, then leaves out columns. */
function writer(rows: readonly TableRow[], columns: number): (row: TableRow) => string {
  let names: ColumnName[] = COLUMNS.map(({ name }) => name).filter(
    (name) => name !== 'node' || rows.some(({ node }) => node !== ''),
  )
  const widths = new Map(
    COLUMNS.map(({ name }) => [name, rows.reduce((most, row) => Math.max(most, widthOf(row[name])), name.length)]),
  )
  const width = (): number => names.reduce((sum, name) => sum + widths.get(name)! + GAP.length, -GAP.length)
  for (const name of ['owner', 'actor'] as const) {
    const spare = width() - columns
    if (spare > 0) widths.set(name, Math.max(Math.min(SHORT_NAME, widths.get(name)!), widths.get(name)! - spare))
  }
  for (const { name } of [...COLUMNS].sort((a, b) => b.yields - a.yields))
    if (width() > columns && name !== 'run') names = names.filter((other) => other !== name)
  const numbers = new Set<ColumnName>(COLUMNS.flatMap((column) => ('isNumber' in column ? [column.name] : [])))
  return (row) =>
    names
      .map((name) => {
        const cell = cut(row[name], widths.get(name)!)
        const space = ' '.repeat(widths.get(name)! - widthOf(cell))
        return numbers.has(name) ? space + cell : cell + space
      })
      .join(GAP)
      .trimEnd()
}

/** Cuts a text to a width of `columns`, with a mark at the cut. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let kept = ''
  let width = 1
  for (const character of text) {
    width += widthOf(character)
    if (width > columns) break
    kept += character
  }
  return `${kept}…`
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u

/** The width of a text, in columns of a terminal. */
function widthOf(text: string): number {
  let width = 0
  for (const character of text) width += WIDE.test(character) ? 2 : 1
  return width
}

/** Text without line breaks, control characters and changes of direction. */
export function oneLine(text: string): string {
  return printable(text.replaceAll(/[\r\n\t]/g, ' ').replaceAll(/\p{Bidi_Control}/gu, '\ufffd'))
}

function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}

function figure(n: number): string {
  return n < 10 ? String(Math.round(n * 10) / 10) : String(Math.round(n))
}

function bytes(n: number): string {
  if (n < 1_000) return `${Math.round(n)} B`
  return n < 1e6 ? `${figure(n / 1e3)} kB` : `${figure(n / 1e6)} MB`
}

function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1_000))
  if (s < 120) return `${s}s`
  if (s < 7_200) return `${Math.floor(s / 60)}m`
  return s < 172_800 ? `${Math.floor(s / 3_600)}h` : `${Math.floor(s / 86_400)}d`
}
