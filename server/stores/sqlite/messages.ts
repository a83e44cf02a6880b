import { Packr } from 'msgpackr'

/** Packs what the thread says: the columns of rows are named once, and who unpacks them gets bytes of their own. */
export const resultPackr: Packr = new Packr({ useRecords: true, copyBuffers: true })

/** A value of a column. A number is whole and safe; the columns of this package have no others. */
export type Value = string | number | Uint8Array | null

/** A change or a query. Its text is a constant: each different text is prepared once, and kept. */
export type Statement = { readonly sql: string; readonly params?: readonly Value[] }

/** What one part of the package keeps in the file. */
export type Part = {
  /** Its name in the file. It never changes. */
  readonly name: string
  /** The SQL that leads from version 0 to 1, from 1 to 2, and so on. What was released never changes. */
  readonly migrations: readonly string[]
}

/** A statement of a message: the number of its text, and its parameters. */
export type NumberedStatement = readonly [text: number, params: readonly Value[]]

/** Items for the tail of a run, which it has as one batch. */
export type TailAppend = readonly [
  run: number,
  gen: number,
  first: number,
  last: number,
  at: number,
  index: Uint8Array,
  bodies: Uint8Array,
  open: Uint8Array | null,
  usage: Uint8Array | null,
]

/** Whose tail an operation needs to be in the tables: that of one run, by its number or its id, or every one. */
export type Unsettled = { readonly run: number } | { readonly id: string } | 'all'

/**
 * One operation. `read` gives rows. `write` gives how many rows each statement changed. `writeIf` does the rest only if
 * its first statement changes a row, and says whether. `maintain` is one statement that no transaction may have.
 * `append` says whether a run took the items.
 */
export type Operation =
  | readonly [
      kind: 'read' | 'write' | 'writeIf' | 'maintain',
      statements: readonly NumberedStatement[],
      unsettled?: Unsettled | undefined,
    ]
  | readonly [kind: 'append', append: TailAppend]

/** Rows by column. */
export type Row = { readonly [column: string]: Value }

/** Why something failed, in the words of SQLite or of Node. */
export type Failure = { readonly code: string; readonly message: string }

/** What an operation gives: rows, how many rows each statement changed, or whether it did anything. */
export type Outcome = Row[] | number[] | boolean

/** What became of an operation. */
export type Result = Outcome | { readonly failure: Failure }

/** The first message to the thread. */
export type OpenMessage = { readonly path: string; readonly parts: readonly Part[] }

/** All operations of a turn of the event loop, packed in one message: texts that are new, and the operations. */
export type WorkMessage = readonly [texts: readonly string[], operations: readonly Operation[]]

/** What the main thread sends: packed work, or null to close. */
export type Request = Uint8Array | null

/** What the thread says: that it is open, and how often the file was opened; why it is not; packed results; the end. */
export type Reply =
  | { readonly type: 'opened'; readonly openings: number }
  | { readonly type: 'refused'; readonly failure: Failure }
  | { readonly type: 'results'; readonly packed: Uint8Array }
  | { readonly type: 'closed' }
