/** The tabs of a run. */
export const TABS = ['output', 'timeline', 'graph', 'readers'] as const
/** The states that the list can be narrowed to. */
export const SHOWN_STATES = ['live', 'waiting', 'done', 'error', 'cancelled'] as const

export type Tab = (typeof TABS)[number]
export type ShownState = (typeof SHOWN_STATES)[number]

/** What the page shows: all of it is in the address, so that a reload and a link show the same. */
export type Place = {
  readonly view: 'runs' | 'conversations'
  /** The run that is open, with its actor, which is needed to read one that is on no list. */
  readonly run?: string | undefined
  /** The run beside it. */
  readonly beside?: string | undefined
  readonly tab: Tab
  /** The filter of the list. */
  readonly text: string
  readonly actor: string
  readonly state: ShownState | ''
  /** The actor that keeps the conversations, and the one that is open. */
  readonly keeper: string
  readonly conversation?: string | undefined
}

/** Reads the query of an address. What it does not know, it leaves out. */
export function placeOf(search: string): Place {
  const query = new URLSearchParams(search)
  const text = (name: string): string => query.get(name) ?? ''
  const optional = (name: string): string | undefined => query.get(name) || undefined
  return {
    view: text('view') === 'conversations' ? 'conversations' : 'runs',
    run: optional('run'),
    beside: optional('beside'),
    tab: TABS.find((tab) => tab === text('tab')) ?? 'output',
    text: text('q'),
    actor: text('actor'),
    state: SHOWN_STATES.find((state) => state === text('state')) ?? '',
    keeper: text('keeper'),
    conversation: optional('conversation'),
  }
}

/** The query of a place: without what is as usual. */
export function queryOf({ view, tab, text, ...rest }: Place): string {
  const query = new URLSearchParams()
  const all = { view: view === 'runs' ? '' : view, ...rest, tab: tab === 'output' ? '' : tab, q: text }
  for (const [name, value] of Object.entries(all)) if (value) query.set(name, value)
  const written = query.toString()
  return written === '' ? '' : `?${written}`
}
