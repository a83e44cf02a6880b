import type { StreamEvent } from 'millrace/client'

/** A stretch of time in which something went on. Times are in milliseconds since the first item. */
export type Span = {
  readonly from: number
  readonly to: number
  readonly label: string
  readonly kind: 'text' | 'tool' | 'agent' | 'step' | 'wait'
}

/** One line of a timeline. */
export type Lane = { readonly name: string; readonly spans: readonly Span[] }

/** Lines that are drawn; the last one has what is left. */
const MAX_LANES = 12
/** A pause in a text that is longer than this ends its span, in milliseconds. */
const PAUSE_MS = 400

/**
 * What went on in a run, line by line: the text of each agent, and its calls, steps and waits.
 * @param count events that are read of the array.
 */
export function lanesOf(events: readonly StreamEvent[], count: number): { lanes: readonly Lane[]; totalMs: number } {
  const start = events[0]?.at ?? 0
  const last = (events[count - 1]?.at ?? start) - start
  const lanes = new Map<string, Span[]>()
  const open = new Map<string, { lane: string; span: Span }>()
  const add = (lane: string, span: Span): Span => {
    const spans = lanes.get(lane)
    if (spans) spans.push(span)
    else lanes.set(lane, [span])
    return span
  }
  const begin = (key: string, lane: string, at: number, label: string, kind: Span['kind']): void => {
    if (!open.has(key)) open.set(key, { lane, span: { from: at, to: last, label, kind } })
  }
  const finish = (key: string, at: number): void => {
    const begun = open.get(key)
    if (begun) add(begun.lane, { ...begun.span, to: at })
    open.delete(key)
  }
  const names = new Map<string, string>()
  for (let n = 0; n < count; n++) {
    const event = events[n]!
    const at = event.at - start
    const agent = (event as { agent?: string }).agent
    const who = agent === undefined ? 'answer' : (names.get(agent) ?? agent)
    switch (event.type) {
      case 'token':
      case 'thinking': {
        const spans = lanes.get(who) ?? []
        const before = spans.at(-1)
        if (before?.kind === 'text' && at - before.to <= PAUSE_MS) spans[spans.length - 1] = { ...before, to: at }
        else add(who, { from: at, to: at, label: 'text', kind: 'text' })
        break
      }
      case 'tool.call':
        begin(`call ${event.call}`, event.name, at, event.name, 'tool')
        break
      case 'tool.result':
        finish(`call ${event.call}`, at)
        if (event.outcome !== undefined) finish(`wait ${event.call}`, at)
        break
      case 'tool.progress':
        finish(`wait ${event.call}`, at)
        break
      case 'request':
        begin(`wait ${event.call ?? event.id}`, 'waits for people', at, event.prompt ?? event.kind, 'wait')
        break
      case 'step':
        if (event.status === 'start') begin(`step ${event.id}`, event.name, at, event.name, 'step')
        else finish(`step ${event.id}`, at)
        break
      case 'agent.start':
        if (agent !== undefined) names.set(agent, event.name)
        begin(`agent ${agent ?? ''}`, 'agents', at, event.name, 'agent')
        break
      case 'agent.end':
        finish(`agent ${agent ?? ''}`, at)
        break
      default:
    }
  }
  for (const { lane, span } of open.values()) add(lane, span)
  const all = [...lanes].map(([name, spans]): Lane => ({ name, spans }))
  const rest = all.slice(MAX_LANES - 1)
  const shown =
    all.length <= MAX_LANES
      ? all
      : [...all.slice(0, MAX_LANES - 1), { name: 'others', spans: rest.flatMap(({ spans }) => spans) }]
  return { lanes: shown, totalMs: last }
}
