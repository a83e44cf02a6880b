import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { root } from './helpers/root.ts'

const { isFresh } = (await import(`${root}scripts/freshness.mjs`)) as { isFresh(root: string): boolean }

/** A package whose build began at 1000 s, of sources that were written at 500 s. */
function built(): { folder: string; at(path: string, seconds: number): void } {
  const folder = `${mkdtempSync(join(tmpdir(), 'millrace-fresh-'))}/`
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const at = (path: string, seconds: number): void => utimesSync(`${folder}${path}`, seconds, seconds)
  for (const path of ['dist', 'server/log']) mkdirSync(`${folder}${path}`, { recursive: true })
  for (const path of ['package.json', 'server/server.ts', 'server/log/log.ts']) writeFileSync(`${folder}${path}`, '')
  for (const path of ['package.json', 'server/server.ts', 'server/log/log.ts', 'server/log', 'server']) at(path, 500)
  at('dist', 1_000)
  return { folder, at }
}

test('a package is built again after a change of a source, of its manifest, or of the packages that are installed', () => {
  const { folder, at } = built()
  expect(isFresh(folder)).toBe(true)
  for (const path of ['server/log/log.ts', 'package.json']) {
    at(path, 1_001)
    expect(isFresh(folder)).toBe(false)
    at(path, 500)
    expect(isFresh(folder)).toBe(true)
  }
  mkdirSync(`${folder}node_modules`)
  writeFileSync(`${folder}node_modules/.package-lock.json`, '')
  expect(isFresh(folder)).toBe(false)
})

test('a package is built again when a source is gone or was written during the build, and when there is no build', () => {
  const { folder, at } = built()
  rmSync(`${folder}server/log/log.ts`)
  expect(isFresh(folder)).toBe(false)
  at('server/log', 1_000)
  expect(isFresh(folder)).toBe(false)
  at('server/log', 500)
  expect(isFresh(folder)).toBe(true)
  rmSync(`${folder}dist`, { recursive: true })
  expect(isFresh(folder)).toBe(false)
})
