import { describe, expect, test } from 'vitest'
import type { InspectedRun } from '../../protocol/inspector.ts'
import { runTable, type TableOptions } from '../../server/cli/run-table.ts'

const NOW = 1_700_000_000_000
const own = { policy: 'pace', own: true, credit: 253, lag: 3 } as const

function run(number: number, more: Partial<InspectedRun> = {}): InspectedRun {
  return {
    id: `r_${String(number).padStart(22, '0')}`,
    actor: 'chat',
    principal: 'alice',
    sessions: [],
    state: 'running',
    gated: false,
    detached: false,
    startedAt: NOW - number * 1_000,
    items: 10,
    itemsPerSec: 20,
    bytesPerSec: 90,
    readerCount: 1,
    readers: [own],
    ...more,
  }
}

function lines(runs: readonly InspectedRun[], more: Partial<TableOptions> = {}): string[] {
  return runTable({ runs, sessions: [], ownOnly: false, now: NOW, ...more }).map(({ text }) => text)
}

/** The cells of one run. */
function cells(more: Partial<InspectedRun>): string[] {
  return lines([run(1, more)])[2]!.split(/ {2,}/)
}

describe('the table of runs', () => {
  test('has a line of totals, and one for each run, newest first', () => {
    const sessions = [true, true, false].map((connected, n) => ({ id: `s_${n}`, principal: 'a', connected, runs: 1 }))
    const runs = [run(3_000, { gated: true }), run(1), run(200, { detached: true, readers: [], readerCount: 0 })]
    expect(lines(runs, { sessions })).toEqual([
      '3 runs · 1 gated · 1 detached · 3 sessions · 1 not connected · 60 items/s · 270 B/s',
      'RUN                       ACTOR  STATE     RATE  LAG  CREDIT  READERS  AGE  OWNER',
      'r_0000000000000000000001  chat   running   20/s    3     253        1   1s  alice',
      'r_0000000000000000000200  chat   detached  20/s    -       -        0   3m  alice',
      'r_0000000000000000003000  chat   gated     20/s    3     253        1  50m  alice',
    ])
  })

  test('says which server has a run, where some are of others, of which it knows no readers', () => {
    const elsewhere = { readers: [], readerCount: 0, bytesPerSec: 0 }
    const runs = [run(1), run(2, { node: 'x7Kd-long-name', ...elsewhere }), run(3, { node: '', ...elsewhere })]
    expect(lines(runs).slice(1)).toEqual([
      'RUN                       ACTOR  STATE    RATE  LAG  CREDIT  READERS  AGE  NODE    OWNER',
      'r_0000000000000000000001  chat   running  20/s    3     253        1   1s  here    alice',
      'r_0000000000000000000002  chat   running  20/s    -       -        -   2s  x7Kd-l  alice',
      'r_0000000000000000000003  chat   running  20/s    -       -        -   3s  -       alice',
    ])
  })

  test('says when it does not show the runs of all people, and when it is empty', () => {
    expect(lines([], { ownOnly: true })).toEqual(['0 runs of yours · 0 sessions · 0 items/s · 0 B/s'])
  })

  test.each<[string, Partial<InspectedRun>]>([
    ['running', {}],
    ['opening', { state: 'opening' }],
    ['waiting, detached', { state: 'waiting_input', detached: true }],
    ['settling', { state: 'settling' }],
    ['gated, paused', { gated: true, readers: [{ ...own, perSec: 0 }] }],
    ['running', { readers: [{ ...own, perSec: 20 }] }],
    ['gated, detached', { gated: true, detached: true }],
    ['error', { state: 'ended', outcome: 'error' }],
  ])('calls it %s', (words, more) => {
    expect(cells(more)[2]).toBe(words)
  })

  test('shows lag and credit of the slowest reader that the actor waits for', () => {
    const readers = [
      { policy: 'log', own: false, credit: 0, lag: 900 },
      { policy: 'pace', own: true, credit: 7, lag: 12 },
      own,
    ] as const
    expect(cells({ readers, readerCount: 400 }).slice(4, 7)).toEqual(['12', '7', '400'])
    expect(cells({ readers: readers.slice(0, 1) }).slice(4, 6)).toEqual(['900', '0'])
  })

  test('places children behind their run', () => {
    const children = [run(1, { parent: run(9).id }), run(8, { parent: run(9).id }), run(7, { parent: run(8).id })]
    const orphan = run(3, { parent: run(99).id })
    const table = lines([...children, run(9), orphan, run(5)]).slice(2)
    expect(table.map((line) => `${line.slice(23, 24)} ${line.slice(26, 34).trimEnd()}`)).toEqual([
      '3 chat',
      '5 chat',
      '9 chat',
      '8 └ chat',
      '7   └ chat',
      '1 └ chat',
    ])
  })

  test.each([24, 30, 40, 50, 60, 70, 80, 100])('fits %i columns, and keeps ids whole', (columns) => {
    const runs = [run(1, { principal: '山'.repeat(40), actor: 'a'.repeat(60), gated: true, detached: true }), run(2)]
    const table = lines(runs, { columns })
    for (const line of table) expect(line.length + (line.match(/山/g)?.length ?? 0)).toBeLessThanOrEqual(columns)
    expect(table[2]).toMatch(/^r_0{21}1( |$)/)
    expect(table[3]).toMatch(/^r_0{21}2( |$)/)
    expect(table.every((line) => !line.endsWith(' '))).toBe(true)
  })

  test('leaves out nothing on a terminal of 80 columns in the usual case', () => {
    expect(lines([run(1)], { columns: 80 })[1]).toMatch(/RUN .* OWNER$/)
  })

  test('fits the rows of the terminal, and says how many runs are left out', () => {
    const table = lines(
      Array.from({ length: 30 }, (_, n) => run(n)),
      { rows: 10 },
    )
    expect(table).toHaveLength(10)
    expect(table.at(-1)).toBe('and 23 more')
    expect(lines([run(1), run(2)], { rows: 4 })).toHaveLength(4)
  })

  test('never has more lines than the terminal has rows', () => {
    const runs = [1, 2, 3].map((number) => run(number))
    for (const rows of [1, 2, 3, 4, 5]) expect(lines(runs, { rows }).length).toBeLessThanOrEqual(rows)
  })

  test('holds any number of runs, side by side or nested', () => {
    const many = Array.from({ length: 130_000 }, (_, n) => run(n))
    expect(lines(many)).toHaveLength(2 + many.length)
    const nested = Array.from({ length: 20_000 }, (_, n) => run(n, n > 0 ? { parent: run(n - 1).id } : {}))
    expect(lines(nested, { columns: 80, rows: 24 })).toHaveLength(24)
  })

  test('is never wider than its columns, whatever characters a name has', () => {
    const runs = [run(1, { actor: '⚡✅❌⭐'.repeat(20) })]
    for (const line of lines(runs, { columns: 60 })) {
      const wide = line.match(/\p{Emoji_Presentation}/gu)?.length ?? 0
      expect(Array.from(line).length + wide).toBeLessThanOrEqual(60)
    }
  })

  test('does not let a name change the direction of the line', () => {
    const turned = ['\u202e', '\u2066', '\u200f', '\u061c'].map((sign) => `a${sign}b`).join('')
    expect(lines([run(1, { actor: turned, principal: turned })]).join('')).not.toMatch(/\p{Bidi_Control}/u)
  })

  test('shows control characters, and readers that are no clients', () => {
    expect(cells({ actor: 'a\u001b[2J\nb', principal: '\u0000local' })).toEqual(
      expect.arrayContaining(['a␛[2J b', '(local)']),
    )
  })
})
