import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { MillraceError } from '../../protocol/errors.ts'

/** A file of the page. */
export class PageFile {
  readonly type: string
  readonly bytes: Uint8Array<ArrayBuffer>
  #compressed: Uint8Array<ArrayBuffer> | undefined

  constructor(type: string, bytes: Uint8Array<ArrayBuffer>) {
    this.type = type
    this.bytes = bytes
  }

  /** The bytes in gzip, made when somebody first asks for them: a server whose page nobody opens starts no later. */
  get compressed(): Uint8Array<ArrayBuffer> {
    return (this.#compressed ??= new Uint8Array(gzipSync(this.bytes)))
  }
}

/** The files of the page as they were built: its document, and what that loads, by names with a hash of the content. */
export type PageFiles = { readonly document: PageFile; readonly assets: ReadonlyMap<string, PageFile> }

/** Where they are: beside the built package, or in it where the sources run. */
const PLACES = ['../../dashboard/', '../../dist/dashboard/']
const TYPES: { readonly [extension: string]: string } = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

let read: PageFiles | undefined

/**
 * Reads all of them into memory, once: a request can name none but these.
 * @throws MillraceError `unavailable` where they were not built.
 */
export function pageFiles(): PageFiles {
  return (read ??= readFiles())
}

function readFiles(): PageFiles {
  for (const place of PLACES) {
    const folder = fileURLToPath(new URL(place, import.meta.url))
    const names = filesOf(`${folder}assets`)
    if (names.length === 0) continue
    const assets = new Map(names.map((name) => [name, fileAt(`${folder}assets/${name}`)]))
    return { document: fileAt(`${folder}index.html`), assets }
  }
  throw new MillraceError('unavailable', 'the dashboard is not built: npm run build')
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => extname(name) in TYPES)
  } catch {
    return []
  }
}

function fileAt(path: string): PageFile {
  return new PageFile(TYPES[extname(path)] ?? 'application/octet-stream', new Uint8Array(readFileSync(path)))
}
