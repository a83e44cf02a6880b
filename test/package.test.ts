import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { expect, test } from 'vitest'
import { Command } from './helpers/command.ts'
import { root } from './helpers/root.ts'

test('the package has the dashboard as it was built, and every link of a page in it leads to a file in it', async () => {
  await using pack = new Command('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])
  const { code, stdout, stderr } = await pack.ended
  expect(code, stderr).toBe(0)
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }]
  const packed = files.map(({ path }) => path)
  const pages = packed.filter((path) => path.endsWith('.md'))
  for (const page of ['README.md', 'PROTOCOL.md', 'docs/deployment.md']) expect(pages).toContain(page)
  const built = readdirSync(`${root}dist/dashboard`, { recursive: true, encoding: 'utf8' })
  const ofDashboard = packed.filter((path) => path.startsWith('dist/dashboard/'))
  const names = ofDashboard.map((path) => path.replace('dist/dashboard/', ''))
  expect(names.toSorted()).toEqual(built.filter((name) => /\.\w+$/.test(name)).toSorted())
  // The document, and parts with a hash in their names, of which one is the style.
  expect(names.filter((name) => !/^assets\/[a-z-]+-[\w-]{8}\.js$/.test(name)).toSorted()).toEqual([
    expect.stringMatching(/^assets\/style-[\w-]{8}\.css$/) as string,
    'index.html',
  ])
  const missing = pages.flatMap((page) =>
    linksOf(readFileSync(`${root}${page}`, 'utf8'))
      .map((link) => posix.join(posix.dirname(page), link))
      .filter((target) => !packed.some((path) => path === target || path.startsWith(`${target}/`)))
      .map((target) => `${page} links to ${target}`),
  )
  expect(missing).toEqual([])
}, 60_000)

/** The files and folders that a page links to, relative to it. Images too. What is in blocks of code are no links. */
function linksOf(markdown: string): string[] {
  const prose = markdown.replace(/^ *```[^]*?^ *```$/gm, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"/g)]
    .map(([, link, image]) => (link ?? image ?? '').split('#')[0]!)
    .filter((link) => link !== '' && !/^[a-z]+:/.test(link))
}
