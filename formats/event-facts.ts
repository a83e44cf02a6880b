/** What an event says: without its type, its sub-agent and its place in the log, and without what it leaves out. */
export function eventFacts(event: object): object {
  const { type: _type, agent: _agent, seq: _seq, at: _at, ...rest } = event as { [name: string]: unknown }
  return defined(rest)
}

/** The fields of an object that are not undefined. */
export function defined(object: { readonly [name: string]: unknown }): object {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}
