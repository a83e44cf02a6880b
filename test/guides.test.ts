import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { root } from './helpers/root.ts'

test('every function that docs/migrating.md names is an export of the package', async () => {
  const page = readFileSync(`${root}docs/migrating.md`, 'utf8')
  const ours = page.split('\n').flatMap((line) => /^\| (?!earlier|---).* \| (.+) \|$/.exec(line)?.[1] ?? [])
  expect(ours.length).toBeGreaterThan(45)
  const called = ours.flatMap((cell) => [...cell.matchAll(/(?<![.\w])([a-z]\w+)\(/g)].map(([, name = '']) => name))
  expect(called.length).toBeGreaterThan(15)
  const entries = ['server/index', 'client-sdk/index', 'compat/index', 'client-sdk/conversation', 'react/index']
  const models = ['openai', 'anthropic', 'gemini', 'ollama'].map((name) => `server/models/${name}`)
  const exported = await Promise.all(
    [...entries, ...models].map((entry) => import(`${root}${entry}.ts`) as Promise<Record<string, unknown>>),
  )
  // Methods of an actor, a run or a client are members, and no exports.
  const members = ['stream', 'attach', 'start', 'onFinish']
  expect(called.filter((name) => !members.includes(name) && !exported.some((entry) => name in entry))).toEqual([])
})

const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'PROTOCOL.md', 'CHANGELOG.md', 'SECURITY.md', 'server/README.md'],
  ...readdirSync(`${root}docs`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

test.each(pages)('every link of %s leads somewhere', (page) => {
  const links = [...readFileSync(`${root}${page}`, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
  const broken = links.filter((link) => {
    if (/^https?:/.test(link)) return false
    const [path = '', anchor] = link.split('#')
    const target = new URL(path, new URL(page, `file://${root}`)).pathname
    const file = path === '' ? `${root}${page}` : target
    if (!existsSync(file)) return true
    return anchor !== undefined && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor)
  })
  expect(broken).toEqual([])
})

const maps = ['README.md', 'CONTRIBUTING.md', 'server/README.md', 'docs/architecture.md', 'docs/path-of-a-token.md']
const folders = ['protocol', 'client-sdk', 'server', 'test', 'docs', 'examples', 'bench', 'scripts']
const files = folders.flatMap((folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
)

test.each(maps)('every file and folder that %s names is there', (page) => {
  const prose = readFileSync(`${root}${page}`, 'utf8').replace(/^```\w[^]*?^```|\]\([^)]*\)|`[^`]*NAME[^`]*`/gm, '')
  const named = [...prose.matchAll(/(?<![\w./*-])([\w-]+(?:[./][\w-]+)*\.(?:ts|md|cddl))\b|`([\w-]+(?:\/[\w-]+)*)\/`/g)]
  const names = named.map(([, file, folder]) => file ?? folder!)
  expect(names.length).toBeGreaterThan(0)
  const isThere = (name: string) => existsSync(`${root}${name}`) || files.some((file) => file.endsWith(`/${name}`))
  expect(names.filter((name) => !isThere(name))).toEqual([])
})

test('server/README.md lists every room of the server, and names its files in their own room', () => {
  const rows = [...readFileSync(`${root}server/README.md`, 'utf8').matchAll(/^\| `(\w+)\/` \|.*\|(.*)\|$/gm)]
  const rooms = readdirSync(`${root}server`, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  expect(rows.map(([, room]) => room).sort()).toEqual(rooms.map(({ name }) => name).sort())
  const astray = rows.flatMap(([, room = '', main = '']) =>
    [...main.matchAll(/[\w-]+\.ts/g)]
      .filter(([name]) => !files.some((file) => file.startsWith(`server/${room}/`) && file.endsWith(`/${name}`)))
      .map(([name]) => `${room}/${name}`),
  )
  expect(astray).toEqual([])
})

test('every test that docs/capabilities.md names is there', () => {
  const page = readFileSync(`${root}docs/capabilities.md`, 'utf8')
  const rows = page.split('\n').filter((line) => /^\| (?!what |---)/.test(line))
  expect(rows.length).toBeGreaterThan(30)
  const missing = rows.filter((row) => {
    const [, file = '', title = ''] = /\| `(test\/[^`]+\.ts)`: “(.+)” \|$/.exec(row) ?? []
    if (file === '') return true
    const source = readFileSync(`${root}${file}`, 'utf8')
    return !["'", '"', '`'].some((quote) =>
      [', ', ',\n'].some((end) => source.includes(`${quote}${title}${quote}${end}`)),
    )
  })
  expect(missing).toEqual([])
})

/** The anchors that a page's headings get where it is shown. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
