// Runs examples/one-run.ts and draws what it printed as docs/one-run.svg: a column for each client, a row for each line.
// `node scripts/draw-one-run.mjs`. A test compares the picture with what the example prints.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'examples/one-run.ts'], {
  cwd: root,
  encoding: 'utf8',
  timeout: 60_000,
})
if (status !== 0) {
  console.error(stderr)
  process.exit(1)
}

const CLIENTS = ['useChat', 'curl -N', 'millrace', 'HTTP', 'openai']
const COLORS = ['#2563eb', '#0f766e', '#b45309', '#7c3aed', '#be123c']
const [COLUMN, ROW, TOP, LEFT] = [68, 26, 58, 40]
const lines = stdout
  .trimEnd()
  .split('\n')
  .map((line) => ({ client: line.slice(0, 13).trim(), text: line.slice(15) }))
const unknown = lines.find(({ client }) => !CLIENTS.includes(client))
if (unknown) throw new Error(`a line of no client: ${unknown.client}`)

const textX = LEFT + CLIENTS.length * COLUMN
const [width, height] = [textX + 400, TOP + lines.length * ROW + 14]
const x = (client) => LEFT + CLIENTS.indexOf(client) * COLUMN
const y = (row) => TOP + row * ROW + ROW / 2
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

const columns = CLIENTS.flatMap((client, at) => [
  `<text x="${x(client)}" y="34" text-anchor="middle" fill="${COLORS[at]}" font-weight="600">${client}</text>`,
  `<path d="M${x(client)} 44V${height - 12}" stroke="${COLORS[at]}" stroke-opacity=".3"/>`,
])
const rows = lines.flatMap(({ client, text }, row) => {
  const color = COLORS[CLIENTS.indexOf(client)]
  return [
    `<path d="M${x(client)} ${y(row)}H${textX - 14}" stroke="${color}" stroke-opacity=".18"/>`,
    `<circle cx="${x(client)}" cy="${y(row)}" r="5" fill="${color}"/>`,
    `<text class="line" x="${textX}" y="${y(row) + 4}" fill="#1f2937">${escaped(text)}</text>`,
  ]
})
const picture = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12.5">`,
  '<title>What five clients of one run printed, in order of time</title>',
  `<rect width="${width}" height="${height}" rx="8" fill="#fff"/>`,
  ...columns,
  ...rows,
  '</svg>',
]
writeFileSync(`${root}docs/one-run.svg`, `${picture.join('\n')}\n`)
console.log(`docs/one-run.svg: ${lines.length} lines`)
