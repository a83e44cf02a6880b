import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CATALOGUE, type Metric } from '../../../server/metrics/catalogue.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const metrics = Object.entries<Metric>(CATALOGUE)

test('the page of metrics has each metric, as it is', () => {
  const rows = read('docs/metrics.md')
    .split('\n')
    .filter((line) => line.startsWith('| `millrace_') && line.split(' | ').length === 4)
  const listed = metrics.map(([name, { type, help, labels = [] }]) => {
    const names = labels.map((label) => `\`${label}\``).join(', ')
    return `| \`${name}\` | ${type} | ${names} | ${help} |`
  })
  expect(rows).toEqual(listed)
})

test('names and labels are as Prometheus wants them: units at the end, _total for a counter', () => {
  for (const [name, { type, labels = [], help }] of metrics) {
    expect(name).toMatch(/^millrace_[a-z]+(_[a-z]+)*$/)
    expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter'])
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
    for (const label of labels)
      expect(['actor', 'state', 'policy', 'limit', 'code', 'outcome', 'type', 'settled']).toContain(label)
    expect(help).toMatch(/\.$/)
  }
})

test('the dashboard of Grafana shows each metric, and none that does not exist', () => {
  const text = read('docs/grafana.json')
  const { panels } = JSON.parse(text) as { panels: { targets: { expr: string }[] }[] }
  const shown = new Set(
    panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/millrace_[a-z_]+/g) ?? [])),
  )
  const series = metrics.map(([name, { type }]) =>
    type === 'histogram' ? new RegExp(`^${name}_(bucket|count)$`) : new RegExp(`^${name}$`),
  )
  for (const name of shown) expect([name, series.some((one) => one.test(name))]).toEqual([name, true])
  for (const one of series) expect([one.source, [...shown].some((name) => one.test(name))]).toEqual([one.source, true])
})
