import { MillraceError } from '../../protocol/errors.ts'
import { headOf, wellFormed } from '../text.ts'

/** A tool's output: `content` for the model, `output` for the readers of the run. */
export type ToolOutput = {
  readonly content: string
  readonly output: unknown
  readonly truncated: boolean
  /** The output that readers see, as text, if it is another one. */
  readonly shown?: string
}

/** An output of which readers see another one. */
export function redactedOutput({ content }: ToolOutput, shown: ToolOutput): ToolOutput {
  return { ...shown, content, shown: shown.content }
}

/**
 * Makes an output from the return value of a tool: text unchanged, everything else as JSON. An output of more than
 * `maxBytes` bytes of UTF-8 is cut at a character, and a mark follows the cut.
 * @throws MillraceError `tool_failed` for a value that JSON cannot represent, or would empty.
 */
export function toolOutput(given: unknown, maxBytes: number): ToolOutput {
  const text = typeof given === 'string' ? given : jsonOf(given)
  const kept = headOf(text, maxBytes)
  if (kept.length < text.length) {
    const content = `${wellFormed(kept)}\n[cut off: the output was longer than ${maxBytes} bytes]`
    return { content, output: content, truncated: true }
  }
  if (typeof given !== 'string') return { content: text, output: JSON.parse(text) as unknown, truncated: false }
  const content = wellFormed(text)
  return { content, output: content, truncated: false }
}

function jsonOf(given: unknown): string {
  if (typeof given === 'function' || typeof given === 'symbol') throw noJson(`a ${typeof given}`)
  try {
    return JSON.stringify(given, refuseEmptied) ?? 'null'
  } catch (cause) {
    if (MillraceError.is(cause)) throw cause
    throw new MillraceError('tool_failed', 'the output of the tool cannot be written as JSON: return plain data', {
      cause,
    })
  }
}

/**
 * Passes on a value, at any depth, unless JSON writes it as `{}` although it holds something: a `Response`, a stream, a
 * `Map`, a promise, an error. What such an object holds is not in members that JSON sees.
 */
function refuseEmptied(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  if (Object.keys(value).length > 0 || isBoxed(value) || !holdsSomething(value)) return value
  const name: unknown = value.constructor?.name
  throw noJson(typeof name === 'string' && name !== '' ? `a value of type ${name}` : 'such a value')
}

/** Whether a value is an object around a number, a boolean or a text, such as `new Number(5)`: JSON writes what it holds. */
function isBoxed(value: object): boolean {
  return /^\[object (?:Number|Boolean|String|BigInt)\]$/.test(Object.prototype.toString.call(value))
}

/**
 * Whether an object without enumerable members may hold something all the same: in hidden members, or behind the methods
 * and accessors of its class. A class with nothing but a constructor has nothing to show.
 */
function holdsSomething(value: object): boolean {
  let link = prototypeOf(value)
  // That of plain objects, also of another realm, has none of its own.
  if (link === null || prototypeOf(link) === null) return false
  if (Reflect.ownKeys(value).length > 0) return true
  for (let next = prototypeOf(link); next; link = next, next = prototypeOf(link)) {
    if (Reflect.ownKeys(link).some((key) => key !== 'constructor')) return true
  }
  return false
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null
}

function noJson(what: string): MillraceError {
  const advice = 'return plain data, such as `await response.json()` or `[...map]`'
  return new MillraceError('tool_failed', `the output of the tool has ${what}, which JSON would lose: ${advice}`)
}
