/** How something grows: one line for each that is compared. */
export type Curve = {
  title: string
  xs: readonly number[]
  xLabel: string
  yLabel: string
  lines: readonly { name: string; ys: readonly number[] }[]
}

const WIDTH = 760
const PLOT = { left: 64, top: 48, width: 420, height: 240 }
const COLORS = ['#0b7285', '#22b8cf', '#5f3dc4', '#b197fc', '#868e96', '#ced4da']

/** The curve as an SVG image. Both axes are logarithmic: a cost that stays the same is a level line. */
export function svg({ title, xs, xLabel, yLabel, lines }: Curve): string {
  const all = lines.flatMap(({ ys }) => ys)
  const [bottom, top] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))]
  const steps = Math.max(1, xs.length - 1)
  const x = (i: number): number => PLOT.left + (i * PLOT.width) / steps
  const y = (value: number): number =>
    PLOT.top + PLOT.height - ((Math.log10(value) - bottom) / Math.max(1, top - bottom)) * PLOT.height
  const right = PLOT.left + PLOT.width
  const below = PLOT.top + PLOT.height
  const decades = Array.from({ length: top - bottom + 1 }, (_, i) => 10 ** (bottom + i))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${below + 56}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(PLOT.left, 24, title, { weight: 600 }),
    ...decades.flatMap((value) => [
      `<path d="M${PLOT.left} ${round(y(value))}H${right}" stroke="#e9ecef"/>`,
      text(PLOT.left - 8, y(value) + 4, value.toLocaleString('en'), { anchor: 'end' }),
    ]),
    text(PLOT.left, PLOT.top - 8, yLabel, { fill: '#868e96' }),
    ...xs.map((value, i) => text(x(i), below + 20, value.toLocaleString('en'), { anchor: 'middle' })),
    text(PLOT.left + PLOT.width / 2, below + 42, xLabel, { anchor: 'middle', fill: '#868e96' }),
    ...lines.flatMap(({ name, ys }, n) => {
      const color = COLORS[n % COLORS.length]!
      const points = ys.map((value, i) => `${round(x(i))} ${round(y(value))}`)
      const at = PLOT.top + 16 + n * 24
      return [
        `<path d="M${points.join('L')}" fill="none" stroke="${color}" stroke-width="2"/>`,
        ...ys.map((value, i) => `<circle cx="${round(x(i))}" cy="${round(y(value))}" r="3" fill="${color}"/>`),
        `<path d="M${right + 24} ${at - 4}h20" stroke="${color}" stroke-width="2"/>`,
        text(right + 52, at, name),
      ]
    }),
    '</svg>',
    '',
  ].join('\n')
}

type TextStyle = { anchor?: 'start' | 'middle' | 'end'; fill?: string; weight?: number }

function text(
  x: number,
  y: number,
  words: string,
  { anchor = 'start', fill = '#212529', weight = 400 }: TextStyle = {},
) {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${fill}" font-weight="${weight}">${escaped(words)}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
