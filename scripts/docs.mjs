// Makes the site of the documentation, in dist.docs/ or `--out DIR`: the README, the guides, the protocol, and every example
// that they name. The list in docs/README.md is the navigation, and becomes llms.txt. The site loads nothing from elsewhere
// and works from a folder. The API reference in its folder api/ is made by typedoc: `npm run docs` makes both.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import MarkdownIt from 'markdown-it'
import { escaped, highlighted } from './docs-site/highlight.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { out } = parseArgs({
  options: { out: { type: 'string', default: join(root, 'dist.docs') } },
}).values

const read = (path) => readFileSync(join(root, path), 'utf8')

/** The groups of docs/README.md, `{ name, pages: [{ path, title, about }] }`; paths begin at the root of the repository. */
const groups = read('docs/README.md')
  .split(/^## /m)
  .slice(1)
  .map((part) => ({
    name: part.slice(0, part.indexOf('\n')),
    pages: [...part.matchAll(/^- \[(.+?)\]\((.+?)\)(?:: (.+))?$/gm)].map(([, title, link, about]) => ({
      path: posix.join('docs', link),
      title,
      about,
    })),
  }))

/** Every file that has a page, by the address of the page. What a page links to is added while the pages are made. */
const pages = new Map()
const todo = ['README.md', 'docs/README.md', ...groups.flatMap((group) => group.pages.map(({ path }) => path))]
/** The headings that the search finds: title, address, and the title of the page. */
const headings = []

if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, 'llms.txt')))
  throw new Error(`${out} has files that are not of this site; name another folder with --out, or remove it`)
rmSync(out, { recursive: true, force: true })
for (let path = todo.shift(); path !== undefined; path = todo.shift()) if (!pages.has(path)) makePage(path)
for (const name of ['site.css', 'search.js']) cpSync(join(root, 'scripts/docs-site', name), join(out, 'assets', name))
write('assets/search-index.js', `globalThis.searchIndex = ${JSON.stringify(headings)}\n`)
writeTexts()
console.log(`${pages.size} pages in ${out}`)

/** The address of a file's page, from the root of the site. */
function addressOf(path) {
  if (statSync(join(root, path)).isDirectory()) return `${path}/index.html`
  if (/\.(svg|png)$/.test(path)) return path
  return path.endsWith('README.md') ? path.replace('README.md', 'index.html') : `${path.replace(/\.md$/, '')}.html`
}

function write(address, content) {
  const file = join(out, address)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}

function makePage(path) {
  const address = addressOf(path)
  pages.set(path, address)
  const isFolder = statSync(join(root, path)).isDirectory()
  // The file itself is there as well, for programs that read. A page of an example would be taken for one of the site.
  if (!isFolder && !path.endsWith('.html')) write(path, readFileSync(join(root, path)))
  if (address === path) return
  const { title, html, toc = [] } = isFolder ? folder(path) : path.endsWith('.md') ? markdown(path) : source(path)
  headings.push([title, address, ''], ...toc.map(({ id, text }) => [text, `${address}#${id}`, title]))
  write(address, layout({ path, address, title, html, toc }))
}

function source(path) {
  const language = /\.(\w+)$/.exec(path)?.[1] ?? ''
  return { title: path, html: `<h1>${escaped(path)}</h1><pre><code>${highlighted(read(path), language)}</code></pre>` }
}

function folder(path) {
  const files = readdirSync(join(root, path), { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'tsconfig.json')
    .map((entry) => posix.join(entry.parentPath.slice(root.length), entry.name))
    .sort()
  todo.push(...files)
  const items = files.map((file) => {
    const name = file.endsWith('.md') ? titleOf(read(file)) : file.slice(path.length + 1)
    return `<li><a href="${relative(`${path}/index.html`, addressOf(file))}">${inline(name)}</a></li>`
  })
  const title = groups.flatMap((group) => group.pages).find((page) => page.path === path)?.title ?? path
  return { title, html: `<h1>${escaped(title)}</h1><ul>${items.join('')}</ul>` }
}

function titleOf(text) {
  return /^# (.+)$/m.exec(text)?.[1] ?? ''
}

function inline(text) {
  return escaped(text).replace(/`(.+?)`/g, '<code>$1</code>')
}

function relative(from, to) {
  const [address, anchor] = to.split('#')
  const path = posix.relative(posix.dirname(from), address) || posix.basename(address)
  return anchor === undefined ? path : `${path}#${anchor}`
}

/** The page of a Markdown file: its links lead to pages, and its headings have the anchors that GitHub gives them. */
function markdown(path) {
  const md = new MarkdownIt({ html: false, highlight: highlighted })
  const text = read(path)
  const tokens = md.parse(text, {})
  const toc = []
  const used = new Map()
  for (const [at, token] of tokens.entries()) {
    if (token.type === 'heading_open') {
      const plain = tokens[at + 1].children.map(({ content }) => content).join('')
      const slug = plain
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-')
      const count = used.get(slug) ?? 0
      used.set(slug, count + 1)
      const id = count === 0 ? slug : `${slug}-${count}`
      token.attrSet('id', id)
      if (token.tag !== 'h1') toc.push({ id, text: plain, level: Number(token.tag.slice(1)) })
    }
    for (const child of token.children ?? []) {
      if (child.type === 'link_open') child.attrSet('href', linkFrom(path, child.attrGet('href')))
      if (child.type === 'image') linkFrom(path, child.attrGet('src'))
    }
  }
  md.renderer.rules.heading_close = (all, at) => {
    const { attrs, tag } = all[at - 2]
    const id = escaped(attrs.find(([name]) => name === 'id')[1])
    return tag === 'h1'
      ? '</h1>\n'
      : ` <a class="anchor" href="#${id}" aria-label="Link to this section">#</a></${tag}>\n`
  }
  md.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n'
  md.renderer.rules.table_close = () => '</table></div>\n'
  return { title: titleOf(text).replaceAll('`', ''), html: md.renderer.render(tokens, md.options, {}), toc }
}

/** Where a link of a file leads in the site; what it leads to gets a page. A link that leads nowhere is an error. */
function linkFrom(path, link) {
  if (/^(https?:|#)/.test(link)) return link
  const [file, anchor] = decodeURI(link).split('#')
  const target = posix.join(posix.dirname(path), file).replace(/\/$/, '')
  if (!existsSync(join(root, target))) throw new Error(`${path} links to ${link}, which is not there`)
  todo.push(target)
  return relative(addressOf(path), addressOf(target) + (anchor === undefined ? '' : `#${anchor}`))
}

function layout({ path, address, title, html, toc }) {
  const to = (target) => escaped(relative(address, target))
  const entry = (target, name) =>
    `<li><a href="${to(target)}"${target === address ? ' aria-current="page"' : ''}>${inline(name)}</a></li>`
  const nav = groups
    .map(({ name, pages: list }) => {
      const entries = list.map((page) => entry(addressOf(page.path), page.title))
      return `<h2>${escaped(name)}</h2><ul>${entries.join('')}</ul>`
    })
    .join('\n')
  const order = ['README.md', ...groups.flatMap((group) => group.pages.map((page) => page.path))]
  const at = order.indexOf(path)
  const near = (index, rel, words) => {
    const there = at < 0 ? undefined : order[index]
    if (there === undefined) return ''
    const name =
      there === 'README.md' ? 'Start' : groups.flatMap((group) => group.pages).find((one) => one.path === there).title
    return `<a rel="${rel}" href="${to(addressOf(there))}"><span>${words}</span>${inline(name)}</a>`
  }
  const sections = toc.filter(({ level }) => level <= 3)
  const contents = sections.map(
    ({ id, text, level }) => `<li class="level-${level}"><a href="#${escaped(id)}">${escaped(text)}</a></li>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(path === 'README.md' ? 'millrace' : `${title} · millrace`)}</title>
<link rel="stylesheet" href="${to('assets/site.css')}">
<script defer src="${to('assets/search-index.js')}"></script>
<script defer src="${to('assets/search.js')}" data-root="${to('index.html').replace(/index\.html$/, '')}"></script>
</head>
<body>
<a class="skip" href="#content">Skip to the text</a>
<div class="side">
<header><a class="brand" href="${to('index.html')}">millrace</a>
<button type="button" id="menu" aria-expanded="false" aria-controls="nav" hidden>Menu</button></header>
<nav id="nav" aria-label="Pages">
<search hidden>
<input type="search" id="search" placeholder="Search headings ( / )" aria-label="Search headings" autocomplete="off">
<ul id="results" aria-live="polite"></ul></search>
<div id="pages"><ul>${entry('index.html', 'Start')}${entry('docs/index.html', 'All pages')}
${entry('api/index.html', 'API reference')}</ul>
${nav}</div>
</nav>
</div>
<main id="content">
${html}
<footer>${near(at - 1, 'prev', 'Previous')}${near(at + 1, 'next', 'Next')}</footer>
</main>
<aside aria-label="On this page">
${sections.length > 1 ? `<h2>On this page</h2><ul>${contents.join('')}</ul>` : ''}
</aside>
</body>
</html>
`
}

/** llms.txt, which lists the pages for programs that read them, and llms-full.txt, which has them all. */
function writeTexts() {
  const about = /^# .+\n\n([^]+?)\n\n/.exec(read('README.md'))[1].replaceAll('\n', ' ')
  const lists = groups.map(({ name, pages: list }) => {
    const lines = list.map(({ path, title, about }) => {
      const text = path.endsWith('.md') ? path : addressOf(path)
      return `- [${title}](${text})${about ? `: ${about}` : ''}\n`
    })
    return `## ${name}\n\n${lines.join('')}`
  })
  const first = '- [README](README.md)\n- [All of these pages in one file](llms-full.txt)\n'
  write('llms.txt', `# millrace\n\n> ${about}\n\n${first}\n${lists.join('\n')}`)
  const full = ['README.md', ...groups.flatMap((group) => group.pages.map(({ path }) => path))]
    .filter((path) => path.endsWith('.md'))
    .map((path) => `<!-- ${path} -->\n\n${read(path)}`)
  write('llms-full.txt', full.join('\n'))
}
