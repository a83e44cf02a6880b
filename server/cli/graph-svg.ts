import type { Box } from '../workflows/graph.ts'

/** Where a box stands, in pixels. */
export type PlacedBox = {
  readonly box: Box
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  readonly inside: readonly PlacedBox[]
  /** The labels of its columns. */
  readonly labels: readonly { readonly text: string; readonly x: number; readonly y: number }[]
}

type Size = { readonly width: number; readonly height: number }

const PADDING = 14
const GAP = 26
const HEADER = 40
const LABEL = 20
const LEAF_HEIGHT = 46
const LEAST_WIDTH = 130
/** The longest text that is shown whole. */
const MAX_CHARACTERS = 48
/** About the width of a character of each size of text. */
const NAME_WIDTH = 7.6
const NOTE_WIDTH = 6.2

const COLOURS: { readonly [look in Box['look']]: readonly [fill: string, line: string] } = {
  code: ['#f4f6f8', '#8a97a6'],
  agent: ['#e8f1fd', '#3d7cc9'],
  wait: ['#fdf3e0', '#c98a1b'],
  group: ['#ffffff', '#b9c2cc'],
}

/** Draws boxes that follow one another, from the top to the bottom. */
export function svgOf(title: string, boxes: readonly Box[]): string {
  const { width, height } = sizeOfColumn(boxes)
  const placed = placeColumn(boxes, PADDING, PADDING + HEADER, width)
  const whole = {
    width: Math.max(width, widthOf(title, NAME_WIDTH)) + 2 * PADDING,
    height: height + HEADER + 2 * PADDING,
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${px(whole.width)} ${px(whole.height)}" width="${px(whole.width)}" height="${px(whole.height)}" font-family="system-ui, sans-serif">`,
    `<title>${escaped(title)}</title>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#5c6773"/></marker></defs>',
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    text(PADDING, PADDING + 18, title, 'font-size="16" font-weight="600" fill="#1f2933"'),
    ...drawColumn(placed),
    ...arrows(placed),
    '</svg>',
    '',
  ].join('\n')
}

/** Where boxes that follow one another stand. */
export function placeColumn(boxes: readonly Box[], x: number, y: number, width: number): PlacedBox[] {
  let top = y
  return boxes.map((box) => {
    const size = sizeOf(box)
    const placed = place(box, x + (width - size.width) / 2, top, size)
    top += size.height + GAP
    return placed
  })
}

function place(box: Box, x: number, y: number, { width, height }: Size): PlacedBox {
  let left = x + PADDING
  const labels: { text: string; x: number; y: number }[] = []
  const hasLabels = box.columns.some(({ label }) => label !== undefined)
  const top = y + HEADER + (hasLabels ? LABEL : 0)
  const sizes = box.columns.map((column) => columnSize(column))
  const spare = (width - 2 * PADDING - sum(sizes.map((size) => size.width)) - GAP * Math.max(0, sizes.length - 1)) / 2
  left += Math.max(0, spare)
  const inside = box.columns.flatMap(({ label, boxes }, at) => {
    const columnWidth = (sizes[at] as Size).width
    if (label !== undefined) labels.push({ text: label, x: left + columnWidth / 2, y: top - 6 })
    const placed = placeColumn(boxes, left, top, columnWidth)
    left += columnWidth + GAP
    return placed
  })
  return { box, x, y, width, height, inside, labels }
}

function sizeOf({ name, note, columns }: Box): Size {
  const words = Math.max(LEAST_WIDTH, widthOf(name, NAME_WIDTH), widthOf(note, NOTE_WIDTH)) + 2 * PADDING
  if (columns.length === 0) return { width: words, height: LEAF_HEIGHT }
  const sizes = columns.map(columnSize)
  const width = sum(sizes.map((size) => size.width)) + GAP * (columns.length - 1) + 2 * PADDING
  const label = columns.some((column) => column.label !== undefined) ? LABEL : 0
  return {
    width: Math.max(words, width),
    height: HEADER + label + Math.max(...sizes.map((size) => size.height)) + PADDING,
  }
}

function columnSize({ label, boxes }: Box['columns'][number]): Size {
  const { width, height } = sizeOfColumn(boxes)
  return { width: Math.max(width, widthOf(label ?? '', NOTE_WIDTH)), height }
}

function sizeOfColumn(boxes: readonly Box[]): Size {
  const sizes = boxes.map(sizeOf)
  return {
    width: Math.max(0, ...sizes.map(({ width }) => width)),
    height: sum(sizes.map(({ height }) => height)) + GAP * Math.max(0, sizes.length - 1),
  }
}

function drawColumn(placed: readonly PlacedBox[]): string[] {
  return placed.flatMap((one) => draw(one))
}

function draw({ box, x, y, width, height, inside, labels }: PlacedBox): string[] {
  const [fill, line] = COLOURS[box.look]
  const isGroup = box.look === 'group'
  const middle = x + width / 2
  return [
    `<rect x="${px(x)}" y="${px(y)}" width="${px(width)}" height="${px(height)}" rx="8" fill="${fill}" stroke="${line}"${isGroup ? ' stroke-dasharray="5 4"' : ''}/>`,
    text(middle, y + 19, box.name, 'font-size="13" font-weight="600" fill="#1f2933" text-anchor="middle"'),
    ...(box.note === '' ? [] : [text(middle, y + 35, box.note, 'font-size="11" fill="#5c6773" text-anchor="middle"')]),
    ...labels.map((label) => text(label.x, label.y, label.text, 'font-size="11" fill="#5c6773" text-anchor="middle"')),
    ...drawColumn(inside),
    ...arrows(inside),
  ]
}

/** Arrows between boxes that stand below each other. */
function arrows(placed: readonly PlacedBox[]): string[] {
  return placed.flatMap((from, at) => {
    const to = placed[at + 1]
    if (!to || to.y < from.y + from.height) return []
    return [arrow(from.x + from.width / 2, from.y + from.height, to.x + to.width / 2, to.y)]
  })
}

function arrow(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2 - 1)}" stroke="#5c6773" marker-end="url(#arrow)"/>`
}

function text(x: number, y: number, words: string, style: string): string {
  return `<text x="${px(x)}" y="${px(y)}" ${style}>${escaped(shown(words))}</text>`
}

function shown(words: string): string {
  return words.length > MAX_CHARACTERS ? `${words.slice(0, MAX_CHARACTERS - 1)}…` : words
}

function widthOf(words: string, characterWidth: number): number {
  return Math.min(words.length, MAX_CHARACTERS) * characterWidth
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

function px(n: number): string {
  return String(Math.round(n * 10) / 10)
}

function sum(all: readonly number[]): number {
  return all.reduce((total, n) => total + n, 0)
}
