/**
 * A schema in the subset of CDDL (RFC 8610) that `protocol/millrace.cddl` is written in, and whether values match it.
 *
 * Rules, groups, choices of types and (in arrays) of groups, `&(...)`, occurrences `?`, `*` and `+`, literals, ranges, the
 * controls `.size`, `.ne`, `.ge` and `.and`, comments. Not in it: generics, sockets, tags, unwrapping, `n*m`, `...`.
 *
 * Matching is that of the RFC's appendix on grammars: choices in their order, occurrences as many as there are, and no way
 * back. A key with `:` is final: once it matched, no later entry of the map may take it.
 */
export type Schema = ReadonlyMap<string, Type | Group>

export type Type =
  | { readonly is: 'choice'; readonly of: readonly Type[] }
  | { readonly is: 'name'; readonly name: string }
  | { readonly is: 'literal'; readonly value: string | number }
  | { readonly is: 'range'; readonly least: number; readonly most: number }
  | { readonly is: 'control'; readonly target: Type; readonly control: string; readonly argument: Type }
  | { readonly is: 'array' | 'map' | 'enumeration'; readonly group: Group }

/** Choices of a sequence of entries. */
export type Group = { readonly is: 'group'; readonly of: readonly (readonly Entry[])[] }

export type Entry = {
  readonly least: number
  readonly most: number
  readonly key: Type | undefined
  /** Its key was written with `:`. */
  readonly isFinal: boolean
  readonly what: Type | Group
}

/** What has a name without a rule, as far as the wire has it. */
const PRELUDE: { readonly [name: string]: (value: unknown) => boolean } = {
  nil: (value) => value === null,
  bool: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  tstr: (value) => typeof value === 'string',
  bstr: (value) => value instanceof Uint8Array,
}

const CONTROLS: { readonly [control: string]: (value: unknown, argument: Type, schema: Schema) => boolean } = {
  '.size': (value, argument, schema) => matchesType(schema, argument, byteLength(value)),
  '.ne': (value, argument, schema) => !matchesType(schema, argument, value),
  '.ge': (value, argument) => argument.is === 'literal' && (value as number) >= (argument.value as number),
  '.and': (value, argument, schema) => matchesType(schema, argument, value),
}

/** Whether a value is what the rule says. A value is plain data as a decoder gives it: null for nil, Uint8Array for bin. */
export function matches(schema: Schema, rule: string, value: unknown): boolean {
  return matchesType(schema, { is: 'name', name: rule }, value)
}

/** The same schema with some of its rules made empty groups. */
export function withoutRules(schema: Schema, ...rules: string[]): Schema {
  const empty: Group = { is: 'group', of: [[]] }
  for (const rule of rules) ruleOf(schema, rule)
  return new Map([...schema, ...rules.map((rule) => [rule, empty] as const)])
}

/** The keys that a rule names: of a map those it may have, of an enumeration its members. Its groups are opened. */
export function keysOf(schema: Schema, rule: string): string[] {
  const type = ruleOf(schema, rule)
  if (type.is !== 'map' && type.is !== 'enumeration' && type.is !== 'group') throw new Error(`${rule} has no keys`)
  return entriesOf(schema, type.is === 'group' ? type : type.group).flatMap(({ key }) =>
    key?.is === 'literal' ? [String(key.value)] : [],
  )
}

/** The values that a rule lists: a literal, the literals of a choice, the members of an enumeration. */
export function literalsOf(schema: Schema, rule: string): (string | number)[] {
  const type = ruleOf(schema, rule)
  const listed =
    type.is === 'enumeration'
      ? entriesOf(schema, type.group).map(({ what }) => what)
      : type.is === 'choice'
        ? type.of
        : [type]
  return listed.flatMap((one) => (one.is === 'literal' ? [one.value] : []))
}

/** What a rule is. @throws when there is none of that name. */
export function ruleOf(schema: Schema, rule: string): Type | Group {
  const found = schema.get(rule)
  if (!found) throw new Error(`the schema has no rule ${rule}`)
  return found
}

/** The entries of a group without choices, those of the groups in it in their place. */
export function entriesOf(schema: Schema, group: Group): Entry[] {
  const [entries, ...others] = group.of
  if (!entries || others.length > 0) throw new Error('a choice of groups stands where one group should')
  return entries.flatMap((entry) => {
    const what = opened(schema, entry.what)
    return what.is === 'group' ? entriesOf(schema, what) : [entry]
  })
}

// --- matching

function matchesType(schema: Schema, type: Type, value: unknown): boolean {
  switch (type.is) {
    case 'choice':
      return type.of.some((one) => matchesType(schema, one, value))
    case 'name': {
      const known = PRELUDE[type.name]
      if (known) return known(value)
      const rule = ruleOf(schema, type.name)
      if (rule.is === 'group') throw new Error(`${type.name} is a group and no type`)
      return matchesType(schema, rule, value)
    }
    case 'literal':
      return value === type.value
    case 'range':
      return Number.isInteger(value) && (value as number) >= type.least && (value as number) <= type.most
    case 'control': {
      const holds = CONTROLS[type.control]
      if (!holds) throw new Error(`there is no control ${type.control}`)
      return matchesType(schema, type.target, value) && holds(value, type.argument, schema)
    }
    case 'enumeration':
      return entriesOf(schema, type.group).some(({ what }) => what.is === 'literal' && what.value === value)
    case 'array':
      return Array.isArray(value) && takeElements(schema, type.group, value, 0) === value.length
    case 'map': {
      if (!isMap(value)) return false
      const left = new Map(Object.entries(value))
      return takeMembers(schema, type.group, left) && left.size === 0
    }
  }
}

/** Where a group that begins at element `at` ends; undefined when it does not match. */
function takeElements(schema: Schema, group: Group, elements: readonly unknown[], at: number): number | undefined {
  for (const entries of group.of) {
    let end: number | undefined = at
    for (const entry of entries) if ((end = takeEntry(schema, entry, elements, end)) === undefined) break
    if (end !== undefined) return end
  }
  return undefined
}

function takeEntry(schema: Schema, entry: Entry, elements: readonly unknown[], from: number): number | undefined {
  const what = opened(schema, entry.what)
  let at = from
  let times = 0
  while (times < entry.most) {
    const end =
      what.is === 'group'
        ? takeElements(schema, what, elements, at)
        : at < elements.length && matchesType(schema, what, elements[at])
          ? at + 1
          : undefined
    if (end === undefined) break
    times++
    // A group that is empty is there as often as one likes.
    if (end === at) times = Math.max(times, entry.least)
    if (end === at) break
    at = end
  }
  return times >= entry.least ? at : undefined
}

/** Takes what the group's entries say out of the members of a map. */
function takeMembers(schema: Schema, group: Group, left: Map<string, unknown>): boolean {
  return entriesOf(schema, group).every(({ least, most, key, isFinal, what }) => {
    if (!key || what.is === 'group') throw new Error('an entry of a map has no key')
    let times = 0
    for (const [name, value] of left) {
      if (times === most) break
      if (!matchesType(schema, key, name)) continue
      if (matchesType(schema, what, value)) {
        left.delete(name)
        times++
      } else if (isFinal) return false
    }
    return times >= least
  })
}

/** The group that a name stands for, if it is one. */
function opened(schema: Schema, what: Type | Group): Type | Group {
  if (what.is !== 'name' || what.name in PRELUDE) return what
  const rule = ruleOf(schema, what.name)
  return rule.is === 'group' ? rule : what
}

function byteLength(value: unknown): number | undefined {
  if (typeof value === 'string') return new TextEncoder().encode(value).length
  return value instanceof Uint8Array ? value.length : undefined
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

// --- parsing

const TOKEN =
  /(?<space>\s+|;[^\n]*)|"(?<text>[^"]*)"|(?<number>-?(?:0x[0-9a-f]+|\d+))|(?<id>[a-z@_$](?:[-.]*[a-z0-9@_$])*)|(?<mark>\.\.|\.[a-z]+|=>|\/\/|[=/,:?*+&()[\]{}])/iy

type Token = { readonly kind: 'text' | 'number' | 'id' | 'mark' | 'end'; readonly text: string; readonly line: number }

/** @throws for what is no CDDL, or not of the subset, with its line. */
export function parseSchema(source: string): Schema {
  const tokens = tokensOf(source)
  let next = 0

  const peek = (ahead = 0): Token => tokens[Math.min(next + ahead, tokens.length - 1)]!
  const isAt = (mark: string, ahead = 0): boolean => peek(ahead).kind === 'mark' && peek(ahead).text === mark
  const fail = (wanted: string): never => {
    throw new Error(`line ${peek().line}: ${wanted} should stand where ${JSON.stringify(peek().text)} does`)
  }
  const accept = (mark: string): boolean => {
    if (!isAt(mark)) return false
    next++
    return true
  }
  const expect = (mark: string): void => {
    if (!accept(mark)) fail(mark)
  }

  const schema = new Map<string, Type | Group>()
  while (peek().kind !== 'end') {
    const { kind, text } = peek()
    if (kind !== 'id') fail('the name of a rule')
    if (schema.has(text)) fail(`a rule other than ${text}, which there is already`)
    next++
    expect('=')
    schema.set(text, isAt('(') ? parenthesised() : type())
  }
  for (const name of namesIn([...schema.values()])) if (!(name in PRELUDE)) ruleOf(schema, name)
  return schema

  function type(): Type {
    const of = [controlled()]
    while (accept('/')) of.push(controlled())
    return of.length === 1 ? of[0]! : { is: 'choice', of }
  }

  function controlled(): Type {
    const target = simple()
    if (target.is === 'literal' && accept('..')) {
      const most = simple()
      if (most.is !== 'literal') return fail('a number')
      return { is: 'range', least: Number(target.value), most: Number(most.value) }
    }
    const control = peek()
    if (control.kind !== 'mark' || !(control.text in CONTROLS)) return target
    next++
    return { is: 'control', target, control: control.text, argument: simple() }
  }

  function simple(): Type {
    const { kind, text } = peek()
    next++
    if (kind === 'text') return { is: 'literal', value: text }
    if (kind === 'number') return { is: 'literal', value: Number(text) }
    if (kind === 'id') return { is: 'name', name: text }
    if (text === '&') return { is: 'enumeration', group: parenthesised() }
    if (text === '[') return { is: 'array', group: group(']') }
    if (text === '{') return { is: 'map', group: group('}') }
    next--
    if (!accept('(')) return fail('a type')
    const inner = type()
    expect(')')
    return inner
  }

  function parenthesised(): Group {
    expect('(')
    return group(')')
  }

  /** All up to the mark that closes it. */
  function group(closing: string): Group {
    const of: Entry[][] = [[]]
    while (!accept(closing)) {
      if (accept('//')) of.push([])
      else {
        of.at(-1)!.push(entry())
        accept(',')
      }
    }
    return { is: 'group', of }
  }

  function entry(): Entry {
    const least = isAt('?') || isAt('*') ? 0 : 1
    const most = isAt('*') || isAt('+') ? Number.POSITIVE_INFINITY : 1
    if (isAt('?') || isAt('*') || isAt('+')) next++
    if (isAt('(')) return { least, most, key: undefined, isFinal: false, what: parenthesised() }
    if (isAt(':', 1)) {
      const { kind, text } = peek()
      if (kind !== 'id' && kind !== 'text') fail('a key')
      next += 2
      return { least, most, key: { is: 'literal', value: text }, isFinal: true, what: type() }
    }
    const what = type()
    if (!accept('=>')) return { least, most, key: undefined, isFinal: false, what }
    return { least, most, key: what, isFinal: false, what: type() }
  }
}

function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex
    const found = TOKEN.exec(source)
    if (!found?.groups) throw new Error(`line ${line}: ${JSON.stringify(source.slice(at, at + 20))} is no CDDL`)
    const { space } = found.groups
    for (const kind of ['text', 'number', 'id', 'mark'] as const) {
      const text = found.groups[kind]
      if (text !== undefined) tokens.push({ kind, text, line })
    }
    line += (space ?? '').split('\n').length - 1
  }
  return [...tokens, { kind: 'end', text: 'the end', line }]
}

/** The names that stand anywhere in these, as types or as groups. */
function namesIn(thing: unknown): string[] {
  if (typeof thing !== 'object' || thing === null) return []
  const { is, name } = thing as Partial<Extract<Type, { is: 'name' }>>
  const own = is === 'name' && name !== undefined ? [name] : []
  return [...own, ...Object.values(thing).flatMap(namesIn)]
}
