import { isMap } from '../../protocol/map.ts'
import type { ToolCall, ToolSpec } from './model.ts'
import { objectIn, type Wire } from './provider/json.ts'

/** Maximum number of calls of one tool in one turn: one call for each name in the question. */
const MAX_CALLS = 4

/**
 * The tool calls that the demo model makes for a question: it calls each mentioned tool, with values of the question.
 */
export function demoCalls(question: string, tools: readonly ToolSpec[], callsBefore: number): ToolCall[] {
  return tools
    .filter(({ name }) => mentions(question, name))
    .flatMap(({ name, parameters }) =>
      argumentsIn(question, name, objectIn(parameters)).map((args) => ({ name, args })),
    )
    .map((call, i) => ({ call: `call_${callsBefore + i + 1}`, ...call }))
}

/** Whether a question mentions a tool: by its name, or by one of the longer words that the name is made of. */
function mentions(question: string, name: string): boolean {
  const words = new Set(question.toLowerCase().match(/\p{L}+/gu) ?? [])
  return wordsOf(name).some((word) => words.has(word))
}

function wordsOf(name: string): string[] {
  const words = name.toLowerCase().split(/[^a-z0-9]+/)
  return [name.toLowerCase(), ...words.filter((word) => word.length > 3)]
}

/**
 * The arguments of each call of one tool. A tool with one text parameter is called once for each name in the question.
 */
function argumentsIn(question: string, tool: string, schema: Wire): Wire[] {
  const properties = Object.entries(objectIn(schema['properties']))
  const required = Array.isArray(schema['required']) ? schema['required'] : []
  const wanted = properties.filter(([key]) => required.includes(key))
  const names = namesIn(question, tool)
  const [first] = wanted
  if (wanted.length === 1 && first && isText(first[1]) && names.length > 1)
    return names.slice(0, MAX_CALLS).map((name) => ({ [first[0]]: name }))
  return [Object.fromEntries(wanted.map(([key, property]) => [key, valueFor(objectIn(property), question, names)]))]
}

function isText(property: unknown): boolean {
  return isMap(property) && property['type'] === 'string' && !Array.isArray(property['enum'])
}

/** The capitalized words of the question, except the first word of each sentence. */
function namesIn(question: string, tool: string): string[] {
  const names = [...question.matchAll(/(?<![.?!]\s*|^\s*)\b\p{Lu}[\p{L}-]+/gu)].map(([name]) => name)
  return [...new Set(names)].filter((name) => !wordsOf(tool).includes(name.toLowerCase()))
}

function valueFor(property: Wire, question: string, names: readonly string[]): unknown {
  const choices = property['enum']
  if (Array.isArray(choices)) return choices.find((choice) => question.includes(String(choice))) ?? choices[0]
  switch (property['type']) {
    case 'number':
    case 'integer':
      return within(Number(/\d+/.exec(question)?.[0] ?? 1), property)
    case 'boolean':
      return true
    case 'array':
      return [...names]
    case 'object':
      return {}
    default:
      return names[0] ?? (question.slice(0, 80) || 'nothing')
  }
}

/** The nearest number to a whole one that the bounds of a property allow. Other rules, such as steps, are not read. */
function within(n: number, property: Wire): number {
  const bound = (name: string, otherwise: number): number => {
    const value = property[name]
    return typeof value === 'number' ? value : otherwise
  }
  const low = Math.max(bound('minimum', -Infinity), bound('exclusiveMinimum', -Infinity) + 1)
  const high = Math.min(bound('maximum', Infinity), bound('exclusiveMaximum', Infinity) - 1)
  return Math.max(low, Math.min(high, n))
}
