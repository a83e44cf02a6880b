import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CHROMIUM, launch } from './helpers/browser.ts'
import { Command } from './helpers/command.ts'
import { root } from './helpers/root.ts'

/** The site without its API reference, which is checked where it is made. */
const site = mkdtempSync(join(tmpdir(), 'millrace-docs-'))
const pages = new Map<string, string>()

beforeAll(async () => {
  await using docs = new Command(process.execPath, ['scripts/docs.mjs', '--out', site])
  expect(await docs.ended).toMatchObject({ code: 0, stderr: '' })
  for (const name of readdirSync(site, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.html')) pages.set(name, readFileSync(join(site, name), 'utf8'))
})
afterAll(() => rmSync(site, { recursive: true, force: true }))

test('every document has a page, and docs/README.md lists each guide once', () => {
  const list = readFileSync(`${root}docs/README.md`, 'utf8')
  const links = [...list.matchAll(/^- \[.+?\]\((.+?)\)/gm)].map(([, link = '']) => link)
  const guides = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md') && name !== 'README.md')
  expect(links.filter((link) => /^[\w-]+\.md$/.test(link)).sort()).toEqual(guides.sort())
  const decisions = readdirSync(`${root}docs/decisions`).map((name) => `docs/decisions/${name}`)
  for (const path of [...guides.map((name) => `docs/${name}`), ...decisions, 'PROTOCOL.md', 'CHANGELOG.md'])
    expect(pages.has(path.replace('.md', '.html')), path).toBe(true)
})

test('the list of docs/README.md calls each guide what its first heading calls it', () => {
  const list = readFileSync(`${root}docs/README.md`, 'utf8')
  const named = [...list.matchAll(/^- \[(.+?)\]\(([\w-]+\.md)\)/gm)].map(([, title, file]) => `${file}: ${title}`)
  const headed = [...list.matchAll(/^- \[.+?\]\(([\w-]+\.md)\)/gm)].map(
    ([, file = '']) => `${file}: ${/^# (.+)$/m.exec(readFileSync(`${root}docs/${file}`, 'utf8'))?.[1]}`,
  )
  expect(named).toEqual(headed)
})

test('every link, picture and script of the site leads to a file of the site, and every anchor to a heading', () => {
  let links = 0
  const broken: string[] = []
  for (const [name, html] of pages)
    for (const [, , link = ''] of html.matchAll(/ (href|src)="([^"]*)"/g)) {
      if (/^https?:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? name : posix.join(posix.dirname(name), decodeURI(path))
      links++
      if (target === 'api/index.html') continue
      const page = pages.get(target)
      const isThere = page !== undefined || statSync(join(site, target), { throwIfNoEntry: false })?.isFile() === true
      if (!isThere || (anchor !== undefined && !page?.includes(` id="${decodeURI(anchor)}"`)))
        broken.push(`${name}: ${link}`)
    }
  expect(broken).toEqual([])
  expect(links).toBeGreaterThan(5_000)
})

test('the site loads nothing from elsewhere', () => {
  const files = [...pages, ['site.css', readFileSync(join(site, 'assets/site.css'), 'utf8')]] as const
  const loaded = files.flatMap(([name, text]) =>
    [...text.matchAll(/<(?:script|link|img)\b[^>]*\b(?:src|href)="(?:https?:)?\/\/[^>]*>|url\([^)]*\)|@import/g)].map(
      ([found]) => `${name}: ${found}`,
    ),
  )
  expect(loaded).toEqual([])
})

test('llms.txt lists pages that are there, and llms-full.txt has the text of each guide', () => {
  const list = readFileSync(join(site, 'llms.txt'), 'utf8')
  expect(list).toMatch(/^# millrace\n\n> millrace is a .+\n\n- /)
  const links = [...list.matchAll(/^- \[.+?\]\((.+?)\)/gm)].map(([, link = '']) => link)
  expect(links.length).toBeGreaterThan(40)
  expect(links.filter((link) => statSync(join(site, link), { throwIfNoEntry: false }) === undefined)).toEqual([])
  const full = readFileSync(join(site, 'llms-full.txt'), 'utf8')
  for (const link of links.filter((path) => path.endsWith('.md')))
    expect(full.includes(readFileSync(join(site, link), 'utf8')), link).toBe(true)
})

test.skipIf(CHROMIUM === undefined)(
  'a reader searches a heading from a folder, and opens the menu on a phone',
  async () => {
    const browser = await launch(CHROMIUM!)
    try {
      const page = await browser.newPage({ viewport: { width: 390, height: 800 } })
      const failures: string[] = []
      page.on('pageerror', (error) => failures.push(error.message))
      page.on('requestfailed', (request) => failures.push(request.url()))
      await page.goto(`file://${site}/docs/tools.html`)
      // Nothing is wider than the screen: what is, scrolls within itself.
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
      await page.getByRole('button', { name: 'Menu' }).click()
      await page.getByRole('searchbox').fill('govern')
      await page.getByRole('link', { name: 'Governing a run Steering an agent' }).click()
      await page.waitForURL(/\/docs\/agents\.html#governing-a-run$/)
      expect(await page.title()).toBe('Steering an agent from the server · millrace')
      expect(failures).toEqual([])
    } finally {
      await browser.close()
    }
  },
)
