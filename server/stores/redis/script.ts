import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** A script: its text, and the hash by which Redis knows it. */
export type Script = { readonly text: string; readonly hash: string }

/** Scripts by their names. */
export type Scripts<Name extends string> = { readonly [Of in Name]: Script }

const OWN = new URL('./scripts/', import.meta.url)

/**
 * Reads scripts of a folder. Each begins with `base.lua` of this room.
 * @param common The file of the folder with which each goes on. Default: none.
 */
export function readScripts<const Name extends string>(
  folder: URL,
  names: readonly Name[],
  common?: string,
): Scripts<Name> {
  const before = [read(OWN, 'base'), ...(common === undefined ? [] : [read(folder, common)])]
  const scripts = names.map((name) => [name, scriptOf([...before, read(folder, name)].join('\n'))] as const)
  return Object.fromEntries(scripts) as Scripts<Name>
}

/** Lets a script of one run be done for several in one call: what each gives is in a list. */
export function ofMany({ text }: Script): Script {
  const before = read(OWN, 'base')
  const own = text.slice(before.length)
  return scriptOf([before, 'local function one(KEYS, ARGV)', own, 'end', read(OWN, 'many')].join('\n'))
}

function read(folder: URL, name: string): string {
  return readFileSync(new URL(`${name}.lua`, folder), 'utf8')
}

function scriptOf(text: string): Script {
  return { text, hash: createHash('sha1').update(text).digest('hex') }
}
