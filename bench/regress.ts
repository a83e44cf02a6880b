import type { Goal } from './question.ts'
import { figure } from './stage/statistics.ts'
import type { Table } from './stage/table.ts'

/** What is kept from one time to the next: the median of each goal's figure on each transport. */
export type LastFigures = { machine: string; figures: Record<string, { ws: number | null; uws: number | null }> }

/** A rise by a fifth is said loudly. */
const RISE = 1.2

/** The figures of now in the form in which they are kept. Those of `last` that were not measured now stay. */
export function keep(machine: string, goals: readonly Goal[], last?: LastFigures): LastFigures {
  const kept = (value: number): number | null => (Number.isFinite(value) ? Number(value.toPrecision(3)) : null)
  return {
    machine,
    figures: {
      ...last?.figures,
      ...Object.fromEntries(goals.map(({ name, ws, uws }) => [name, { ws: kept(ws), uws: kept(uws) }])),
    },
  }
}

/** Each goal: what it is, what was measured now, and what the last time. */
export function compared(goals: readonly Goal[], last?: LastFigures): { table: Table; risen: string[] } {
  const risen: string[] = []
  const cells = ({ name, unit, atMost, atMostOnUws = atMost, ...now }: Goal): string[] => {
    const before = last?.figures[name]
    const one = (transport: 'ws' | 'uws', goal: number): string[] => {
      const [value, old] = [now[transport], before?.[transport]]
      if (!Number.isFinite(value)) return ['-', '-', '-']
      if (old && value > old * RISE)
        risen.push(`${name}, on ${transport}: ${figure(value)} ${unit}, ${figure(old)} ${unit} the last time`)
      return [`${figure(value)}${value <= goal ? '' : ' !'}`, figure(goal), old ? figure(old) : '-']
    }
    return [`${name}, ${unit}`, ...one('ws', atMost), ...one('uws', atMostOnUws)]
  }
  return {
    table: {
      title: 'Goals',
      columns: ['', 'ws', 'goal', 'last', 'uWS', 'goal', 'last'],
      rows: goals.map(cells),
      notes: [
        'Medians; "!" is above its goal.',
        ...(last ? [`The last figures: ${last.machine}, bench/last-figures.json.`] : []),
      ],
    },
    risen,
  }
}
