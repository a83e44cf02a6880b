import fc from 'fast-check'
import { entriesOf, type Group, ruleOf, type Schema, type Type } from './cddl.ts'

/** Containers within each other that a generated value has at most, where its schema would let it have any number. */
const DEPTH = 3

/** Values that match a rule, of every form that the rule allows. */
export function valuesOf(schema: Schema, rule: string, depth: number = DEPTH): fc.Arbitrary<unknown> {
  const type = ruleOf(schema, rule)
  if (type.is === 'group') throw new Error(`${rule} is a group: no value is one`)
  return ofType(schema, type, depth)
}

function ofType(schema: Schema, type: Type, depth: number): fc.Arbitrary<unknown> {
  switch (type.is) {
    case 'literal':
      return fc.constant(type.value)
    case 'range':
      return fc.oneof(
        fc.integer({ min: type.least, max: Math.min(type.most, type.least + 300) }),
        fc.maxSafeNat().map((n) => Math.min(type.most, Math.max(type.least, n))),
      )
    case 'choice': {
      const shallow = type.of.filter((one) => !isContainer(schema, one))
      const usable = depth > 0 || shallow.length === 0 ? type.of : shallow
      return fc.oneof(...usable.map((one) => ofType(schema, one, depth)))
    }
    case 'enumeration':
      return fc.oneof(...entriesOf(schema, type.group).map(({ what }) => ofType(schema, what as Type, depth)))
    case 'name':
      return PRELUDE[type.name] ?? valuesOf(schema, type.name, depth)
    case 'control':
      return controlled(schema, type, depth)
    case 'array':
      return elementsOf(schema, type.group, depth - 1)
    case 'map':
      return membersOf(schema, type.group, depth - 1)
  }
}

const PRELUDE: { readonly [name: string]: fc.Arbitrary<unknown> } = {
  nil: fc.constant(null),
  bool: fc.boolean(),
  number: fc.oneof(fc.integer(), fc.maxSafeInteger(), fc.double()),
  tstr: fc.string({ unit: 'binary' }),
  bstr: fc.uint8Array({ maxLength: 40 }),
}

function controlled(
  schema: Schema,
  { target, control, argument }: Extract<Type, { is: 'control' }>,
  depth: number,
): fc.Arbitrary<unknown> {
  if (control === '.ne' && argument.is === 'literal')
    return ofType(schema, target, depth).filter((value) => value !== argument.value)
  if (control === '.ge') return fc.oneof(fc.nat(), fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }))
  if (control === '.and') return ofType(schema, argument, depth)
  const [least, most] =
    argument.is === 'range'
      ? [argument.least, argument.most]
      : argument.is === 'literal'
        ? [argument.value, argument.value]
        : []
  if (control !== '.size' || typeof least !== 'number' || typeof most !== 'number')
    throw new Error(`no values are known for ${control}`)
  // Of both ends, and a few between. A character is one byte here, or the text half as long.
  const length = fc.oneof(fc.constantFrom(least, most), fc.integer({ min: least, max: most }))
  const isText = target.is === 'name' && target.name === 'tstr'
  return isText
    ? fc.tuple(length, fc.boolean()).map(([n, wide]) => (wide ? 'é'.repeat(n >> 1) : 'x'.repeat(n)))
    : length.map((n) => new Uint8Array(n).fill(7))
}

function elementsOf(schema: Schema, group: Group, depth: number): fc.Arbitrary<unknown[]> {
  const sequences = group.of.map((entries) =>
    fc.tuple(...entries.map((entry) => times(entry, depth, elementsOfOne(schema, entry.what, depth)))),
  )
  // Entries, their occurrences, and the elements of each.
  return fc.oneof(...sequences).map((entries) => entries.flat(2))
}

/** What one occurrence of an entry puts into an array. */
function elementsOfOne(schema: Schema, what: Type | Group, depth: number): fc.Arbitrary<unknown[]> {
  const meant = what.is === 'name' && schema.get(what.name)?.is === 'group' ? (schema.get(what.name) as Group) : what
  if (meant.is === 'group') return elementsOf(schema, meant, depth)
  return ofType(schema, meant, depth).map((value) => [value])
}

function membersOf(schema: Schema, group: Group, depth: number): fc.Arbitrary<object> {
  const members = entriesOf(schema, group).map((entry) => {
    const member = fc.tuple(ofType(schema, entry.key as Type, depth), ofType(schema, entry.what as Type, depth))
    return times(entry, depth, member)
  })
  // Keys of its own come first: one that is named here has the value that it has here.
  return fc.tuple(...members.toReversed()).map((all) => Object.fromEntries(all.flat() as [string, unknown][]))
}

function times<T>(
  { least, most }: { least: number; most: number },
  depth: number,
  of: fc.Arbitrary<T>,
): fc.Arbitrary<T[]> {
  const few = least + (depth > 0 ? 2 : 0)
  return fc.array(of, { minLength: least, maxLength: Math.min(most, Math.max(few, most === 1 ? 1 : 0)) })
}

function isContainer(schema: Schema, type: Type): boolean {
  const meant = type.is === 'name' ? schema.get(type.name) : type
  return meant?.is === 'array' || meant?.is === 'map'
}
