import { dirname } from 'node:path'
import { MillraceError } from '../../../protocol/errors.ts'
import type { Failure } from './messages.ts'

/** Turns a failure of the file at `path` into an error that says what to do. */
export function storeError(path: string, { code, message }: Failure): MillraceError {
  const cause = new Error(`${code}: ${message}`)
  return new MillraceError('store_unavailable', wordsOf(path, code, message), { cause, retryable: isPassing(code) })
}

function wordsOf(path: string, code: string, message: string): string {
  // An extended code begins with the one that it extends: SQLITE_IOERR_WRITE, SQLITE_READONLY_DIRECTORY.
  const is = (...codes: string[]): boolean => codes.some((each) => code === each || code.startsWith(`${each}_`))
  if (is('MODULE_MISSING')) return 'sqlite() needs the package libsql: npm install libsql'
  if (is('MODULE_BROKEN')) return `the package libsql does not work on this machine: ${message}`
  if (is('FOREIGN')) return `${path} is not a file of millrace: ${message}; choose another path`
  if (is('NEWER')) return `${path} was written by a newer release of millrace: ${message}; install that release`
  if (is('SQLITE_BUSY', 'SQLITE_LOCKED'))
    return `${path} is in use by another process: only one server can have it; stop that one, or choose another path`
  if (is('SQLITE_CORRUPT', 'SQLITE_NOTADB'))
    return `${path} is damaged: restore a backup, or move the file away to begin without it`
  if (is('SQLITE_FULL', 'ENOSPC', 'EDQUOT')) return `the disk of ${path} is full: free space, or lower maxBytes`
  if (is('SQLITE_READONLY', 'SQLITE_CANTOPEN', 'SQLITE_PERM', 'EACCES', 'EPERM', 'EROFS'))
    return `${path} cannot be written: let the user of this process write it and the folder ${dirname(path)}`
  if (is('EEXIST', 'ENOTDIR', 'EISDIR')) return `${path} cannot be a file: ${message}; choose another path`
  if (is('SQLITE_IOERR')) return `the disk of ${path} fails: ${message}; look at the system's log`
  return `${path} failed: ${message}`
}

/** Whether the same may succeed later, without somebody who changes something about the installation. */
function isPassing(code: string): boolean {
  return !/^(MODULE_|FOREIGN|NEWER|SQLITE_CORRUPT|SQLITE_NOTADB|EEXIST|ENOTDIR|EISDIR)/.test(code)
}
