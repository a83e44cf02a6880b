import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Failure, Part, Value } from './messages.ts'

/** The version of the file as a whole. The parts in it have versions of their own. */
const FORMAT = 1
/** Marks a file of millrace: the bytes of `mlrc`. */
const APPLICATION_ID = 0x6d6c7263
/** How long a process, or a thread of this one, that has the file and is about to end is waited for, in milliseconds. */
const BUSY_MS = 2_000

/** What is used of the module libsql. The module node:sqlite has the same. */
export interface SqliteFile {
  exec(sql: string): void
  prepare(sql: string): SqliteStatement
  readonly inTransaction: boolean
  close(): void
}

export interface SqliteStatement {
  run(params: readonly Value[]): { readonly changes: number }
  all(params: readonly Value[]): { [column: string]: Value | ArrayBuffer }[]
}

/** A reason of our own why a file cannot be used. */
class FileRefusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Opens a file for this process alone, and brings every part to its newest version, or changes nothing. The file is
 * created if it is missing, readable for its owner only.
 * @returns the file, and how often it was opened, this time included.
 */
export async function openFile(path: string, parts: readonly Part[]): Promise<{ file: SqliteFile; openings: number }> {
  const Sqlite = await loadModule()
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
  chmodSync(path, 0o600)
  const file = new Sqlite(path)
  try {
    file.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
    // Takes effect in a new file only, and before its first table.
    file.exec('PRAGMA auto_vacuum = INCREMENTAL')
    // Another process that has the file is met here, and not before.
    file.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    file.exec('PRAGMA temp_store = MEMORY')
    file.exec('BEGIN IMMEDIATE')
    identify(file)
    for (const part of parts) migrate(file, part)
    const openings = countOpening(file)
    file.exec('COMMIT')
    return { file, openings }
  } catch (error) {
    file.close()
    throw error
  }
}

async function loadModule(): Promise<new (path: string) => SqliteFile> {
  try {
    const module = (await import('libsql')) as unknown as { default: new (path: string) => SqliteFile }
    return module.default
  } catch (error) {
    if (failureOf(error).code === 'ERR_MODULE_NOT_FOUND')
      throw new FileRefusal('MODULE_MISSING', 'the package libsql is missing')
    throw new FileRefusal('MODULE_BROKEN', failureOf(error).message)
  }
}

/** Marks a new file as ours, and refuses one that is not, or that a newer release has written. */
function identify(file: SqliteFile): void {
  const id = pragma(file, 'application_id')
  const format = pragma(file, 'user_version')
  const { tables } = row(file, 'SELECT count(*) AS tables FROM sqlite_master')
  if (id !== APPLICATION_ID && tables !== 0) throw new FileRefusal('FOREIGN', 'another application has written it')
  if (format > FORMAT) throw new FileRefusal('NEWER', `it has the format ${format}, and this release knows ${FORMAT}`)
  if (id === APPLICATION_ID) return
  file.exec(`
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${FORMAT};
    CREATE TABLE file (one INTEGER PRIMARY KEY CHECK (one = 1), openings INTEGER NOT NULL) STRICT;
    INSERT INTO file VALUES (1, 0);
    CREATE TABLE parts (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;`)
}

function migrate(file: SqliteFile, { name, migrations }: Part): void {
  const [stored] = file.prepare('SELECT version FROM parts WHERE name = ?1').all([name])
  const version = Number(stored?.['version'] ?? 0)
  const newest = migrations.length
  if (version > newest)
    throw new FileRefusal('NEWER', `it has version ${version} of the part ${name}, and this release knows ${newest}`)
  for (const migration of migrations.slice(version)) file.exec(migration)
  if (version < newest) file.prepare('INSERT OR REPLACE INTO parts VALUES (?1, ?2)').run([name, newest])
}

/** Writes once, so that a file that cannot be written is found now. */
function countOpening(file: SqliteFile): number {
  file.exec('UPDATE file SET openings = openings + 1')
  return Number(row(file, 'SELECT openings FROM file')['openings'])
}

function pragma(file: SqliteFile, name: string): number {
  return Number(row(file, `PRAGMA ${name}`)[name])
}

function row(file: SqliteFile, sql: string): { readonly [column: string]: Value | ArrayBuffer } {
  return file.prepare(sql).all([])[0]!
}

/** The code and message of any thrown value. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { code: 'UNKNOWN', message: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  return { code, message: error.message }
}
