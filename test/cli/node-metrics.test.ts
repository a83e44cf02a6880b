import { expect, test, vi } from 'vitest'
import { joinedTexts } from '../../server/cli/node-metrics.ts'
import { Scrapes } from '../../server/cli/scrapes.ts'
import type { ToNode } from '../../server/cli/serve-node.ts'

test('texts of several processes become one that names each metric once', () => {
  const text = (worker: number): string =>
    `# HELP a Some.\n# TYPE a counter\na{worker="${worker}"} 1\n\n# HELP b Others.\n# TYPE b gauge\nb{worker="${worker}"} 2\n`
  expect(joinedTexts([text(1), text(2)])).toBe(
    '# HELP a Some.\n# TYPE a counter\na{worker="1"} 1\na{worker="2"} 1\n# HELP b Others.\n# TYPE b gauge\nb{worker="1"} 2\nb{worker="2"} 2\n',
  )
  expect(joinedTexts([])).toBe('')
})

test('a process that ends while it is asked is left out, and one that answers twice counts once', () => {
  const told: [string, ToNode][] = []
  const scrapes = new Scrapes<string>((node, message) => told.push([node, message]))
  for (const node of ['asked', 'other', 'ending']) scrapes.add(node)
  scrapes.begin('asked', 7)
  const scrape = { kind: 'scrape', scrape: 1 }
  expect(told.splice(0)).toEqual([
    ['asked', scrape],
    ['other', scrape],
    ['ending', scrape],
  ])
  scrapes.take('other', 1, 'other')
  scrapes.take('other', 1, 'again')
  scrapes.take('asked', 1, 'asked')
  expect(told).toEqual([])
  scrapes.remove('ending')
  expect(told).toEqual([['asked', { kind: 'scraped', id: 7, texts: ['asked', 'other'] }]])
})

test('a process that does not answer in time is left out, and its answer is too late', () => {
  vi.useFakeTimers()
  try {
    const told: [string, ToNode][] = []
    const scrapes = new Scrapes<string>((node, message) => told.push([node, message]))
    for (const node of ['asked', 'hanging']) scrapes.add(node)
    scrapes.begin('asked', 7)
    scrapes.take('asked', 1, 'asked')
    told.splice(0)
    vi.advanceTimersByTime(1_999)
    expect(told).toEqual([])
    vi.advanceTimersByTime(1)
    scrapes.take('hanging', 1, 'hanging')
    expect(told).toEqual([['asked', { kind: 'scraped', id: 7, texts: ['asked'] }]])
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})
