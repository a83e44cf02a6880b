import { describe, expect, test } from 'vitest'
import { codecWith } from '../helpers/broken-codec.ts'
import { faultOf, messageOf, type Vector, vectors } from '../helpers/vectors.ts'

/** What is broken, the text that is right, and the wrong one in its place. */
type Row = [what: string, find: string, replace: string]

const breaks: { readonly [file: string]: readonly Row[] } = {
  'protocol/scan.ts': [
    ['an empty message passes', "if (message.length === 0) refuse('a message is empty')", ''],
    ['the largest message is too large', 'message.length > limits.maxBytes', 'message.length >= limits.maxBytes'],
    ['a message that is too large has the code of a malformed one', ', CLOSE.tooLarge)', ')'],
    [
      'an empty array may nest one deeper',
      'function array(length: number, depth: number): void {\n  if (depth <= 0)',
      'function array(length: number, depth: number): void {\n  if (depth < 0)',
    ],
    [
      'an empty map may nest one deeper',
      'function map(length: number, depth: number): void {\n  if (depth <= 0)',
      'function map(length: number, depth: number): void {\n  if (depth < 0)',
    ],
    ['text is as deep as a container', 'if (head < 0xa0) return array', 'if (head <= 0xa0) return array'],
    ['keys are not counted', 'count(length * 2)', 'count(length)'],
    ['a frame itself is not counted', 'limits.maxValues\n    count(1)', 'limits.maxValues'],
    [
      'values are counted for the whole message',
      'starts.push(at)\n    valuesLeft = limits.maxValues',
      'starts.push(at)',
    ],
    ['an extension type is stepped over', 'case 0xdc:', 'case 0xd4:\n      return skip(2)\n    case 0xdc:'],
    ['a message may end within a number', 'at += length\n  if (at > bytes.length)', 'at += length\n  if (false)'],
    ['a message may end within text', 'if (end > source.length)', 'if (false)'],
    ['a key may be of any type', 'if (head >> 5 !== 5 && (head < 0xd9 || head > 0xdb))', 'if (false)'],
    ['the key __proto__ passes', ' && isProto())', ' && false)'],
    ['every key of nine letters that ends as __proto__ does is refused', ' && isProto())', ')'],
    ['integers of 54 bits pass', 'high > 0x1fffff', 'high > 0x3fffff'],
    ['-(2^53) passes', '(high === -0x200000 && low === 0)', 'false'],
    ['an integer far below -(2^53) passes', 'high < -0x200000', 'high < -0x300000'],
    ['an int64 has no sign', 'head === 0xd3 ? unsigned | 0 : unsigned', 'unsigned'],
    ['two bytes may say what one does', 'lead < 0xc2 ? 0', 'lead < 0xc0 ? 0'],
    ['three bytes may say what two do', 'lead === 0xe0 ? 0xa0', 'lead === 0xe0 ? 0x80'],
    ['four bytes may say what three do', 'lead === 0xf0 ? 0x90', 'lead === 0xf0 ? 0x80'],
    ['half of a surrogate pair is text', 'lead === 0xed ? 0x9f', 'lead === 0xed ? 0xbf'],
    ['characters beyond U+10FFFF are text', 'lead === 0xf4 ? 0x8f', 'lead === 0xf4 ? 0xbf'],
    ['the third byte of a character may be any', 'source[i + 1]! >> 6 !== 2', 'false'],
    ['the fourth byte of a character may be any', 'source[i + 2]! >> 6 !== 2', 'false'],
    ['a character may reach into the next value', ' || i + more > end', ''],
    ['of four bytes of ASCII the third is not looked at', '| source[i + 2]! ', ''],
  ],
  'protocol/decode.ts': [
    ['an empty message passes', "if (!message.length) wrong('message')", ''],
    ['the largest message is too large', 'message.length > limits.maxBytes', 'message.length >= limits.maxBytes'],
    ['empty containers may nest one deeper', "if (depth <= 0) wrong('depth')", "if (depth < 0) wrong('depth')"],
    ['keys are not counted', 'enter(length * 2, depth)', 'enter(length, depth)'],
    ['a frame itself is not counted', 'announce(1)', ''],
    [
      'values are counted for the whole message',
      'while (at < bytes.length) {\n    valuesLeft = limits.maxValues',
      'valuesLeft = limits.maxValues\n  while (at < bytes.length) {',
    ],
    ['a message may end within a value', "at > bytes.length ? wrong('length') : start", 'start'],
    ['nil is nothing', 'if (head === 0xc0) return null', 'if (head === 0xc0) return undefined'],
    ['false is true', 'if (head === 0xc2) return false', 'if (head === 0xc2) return true'],
    ['short text is at most 15 bytes', 'text(head & 31)', 'text(head & 15)'],
    ['bytes of 16 bits of length are read as of 8', 'binary(integer(head - 0xc4))', 'binary(integer(0))'],
    ['a float32 is read from its end', 'getFloat32(take(4))', 'getFloat32(take(4), true)'],
    ['a float64 is read from its end', 'getFloat64(take(8))', 'getFloat64(take(8), true)'],
    ['a small negative integer is another', 'return head - 256', 'return head - 224'],
    ['signed integers have no sign', 'if (isSigned) n = (n << 24) >> 24', ''],
    ['integers beyond 2^53 pass', 'Number.isSafeInteger(n)', 'Number.isInteger(n)'],
    [
      'arrays of 16 bits of length are read as of 8',
      'array(integer(head - 0xdb), depth)',
      'array(integer(head - 0xdc), depth)',
    ],
    ['maps of 32 bits of length are read as of 16', 'map(integer(head - 0xdd), depth)', 'map(integer(1), depth)'],
    ['an extension type is nil', "return wrong('type')", 'return null'],
    ['a key may be a number', "typeof key !== 'string' || ", ''],
    ['the key __proto__ passes', " || key === '__proto__'", ''],
    [
      'of a key given twice the first value counts',
      'result[key] = value(depth - 1)',
      'result[key] ??= value(depth - 1)',
    ],
    ['text that is no UTF-8 is mended', 'fatal: true', 'fatal: false'],
    ['a byte order mark is lost', 'ignoreBOM: true', 'ignoreBOM: false'],
    ['short text may be of bytes beyond ASCII', 'bytes[i]! < 0x80) short', 'bytes[i]! < 0x100) short'],
  ],
  'protocol/fields.ts': [
    ['the first of the tags that may be skipped is unknown', 'tag >= 0x60', 'tag > 0x60'],
    ['a tag behind the last that may be skipped is skipped', 'tag < 0x80', 'tag <= 0x80'],
    ['nil is not absence', 'value == null ? undefined', 'value === undefined ? undefined'],
    ['a frame may be too short for a value of any type', 'value === undefined ? wrong() : value', 'value'],
    ['an integer may have a fraction', 'Number.isSafeInteger(value)', 'Number.isFinite(value)'],
    ['an integer may be negative', ' && (value as number) >= 0', ''],
    ['an integer may be a negative zero', '(value as number) + 0', '(value as number)'],
    ['what must be at least 1 may be 0', 'uint(value) || wrong()', 'uint(value)'],
    ['a boolean may be a number', "typeof value === 'boolean' ? value : wrong()", 'Boolean(value)'],
    ['text is measured in characters', 'new TextEncoder().encode(str(value)).length', 'str(value).length'],
    ['the longest binary id is too long', 'value.length <= max', 'value.length < max'],
    ['an array is a map', ' || Array.isArray(value)', ''],
    ['binary is a map', ' || value instanceof Uint8Array) return wrong()', ') return wrong()'],
    ['every word is known', 'words.includes(value as Word)', 'true'],
    ['a number without a word is the first word', 'words[uint(value)] ?? wrong()', '(words[uint(value)] ?? words[0]!)'],
    ['elements of a list are not looked at', 'value.map((one) => read(one))', '(value as T[])'],
    ['absent options are no options', 'map(value ?? {})', 'map(value)'],
    ['the number of a lane is not looked at', '[uint(lane), map(data)]', '[lane as number, map(data)]'],
  ],
  'protocol/read-up.ts': [
    ['CREDIT has a stream 0', '{ sid: positive, n: positive }', '{ sid: uint, n: positive }'],
    ['LIST leaves out what it asks for', ', watch: optional(bool)', ''],
    ['CREDIT may grant nothing', '{ sid: positive, n: positive }', '{ sid: positive, n: uint }'],
    ['DETACH has a stream 0', "['detach', { sid: positive }]", "['detach', { sid: uint }]"],
    ['a key may have 65 bytes', 'key(64)', 'key(65)'],
    ['a message id may have 33 bytes', 'key(32)', 'key(33)'],
    ['a note may have 257 bytes', 'text(256)', 'text(257)'],
    ['a client instance may have any length', ' && value.length === 16', ''],
    ['meta may have 1,025 bytes', '1_024', '1_025'],
    ['ATTACH cannot be live', 'after: uintOrNull', 'after: uint'],
    ['RATE cannot be lifted', 'perSec: uintOrNull', 'perSec: uint'],
    ['LIST has a stream 0', "['list', { sid: positive,", "['list', { sid: uint,"],
    ['LIST is never watched', '{ sid: positive, watch: optional(bool) }', '{ sid: positive }'],
    ['the option ask is not known', 'ask: optional(bool),', ''],
    ['an agent is no target', "word(['call', 'agent'])", "word(['call'])"],
  ],
  'protocol/read-down.ts': [
    ['OPENED may come without a gen', '...place, gen: uint }', '...place }'],
    ['a notice may have 513 bytes', 'text(512)', 'text(513)'],
    ['an event costs 2 where it says nothing', 'value ?? 1', 'value ?? 2'],
    ['a DELTA may hold no text', 'strs(value).length > 0 ? (value as string[]) : wrong()', '(value as string[])'],
    ['an array of texts may have a count', " && typeof body !== 'string') wrong('count')", ') {}'],
    ['LISTED has a stream 0', "['listed', { sid: positive,", "['listed', { sid: uint,"],
    ['LISTED has no mark', 'run: optional(str), info', 'run: str, info'],
    ['LISTED does not say what a run is', ', info: optional(map) }]', ' }]'],
    ['features are not known', ', features: optional(list(str))', ''],
    ['features may be anything', 'features: optional(list(str))', 'features: optional(list(any)) as never'],
    ['limits are not looked at', 'list(uint)(Object.values(map(value)))', 'map(value)'],
    ['a detail that is nil is a detail', 'detail != null &&', 'detail !== undefined &&'],
    ['GAP says nothing of the place', 'reason: numbered(GAP_REASONS) }, place]', 'reason: numbered(GAP_REASONS) }]'],
  ],
  'protocol/frames.ts': [
    ['two outcomes are exchanged', "'done', 'error'", "'error', 'done'"],
    ['two reasons of a gap are exchanged', "'store_lost', 'rewound'] as", "'rewound', 'store_lost'] as"],
    ['two answers to an input are exchanged', "'unwanted', 'invalid'", "'invalid', 'unwanted'"],
    ['a policy has another name', "'merge', 'latest'", "'merge', 'newest'"],
  ],
  'protocol/tag.ts': [
    ['CANCEL has another tag', 'cancel = 0x05', 'cancel = 0x09'],
    ['GAP has another tag', 'gap = 0x42', 'gap = 0x44'],
    ['LISTED has another tag', 'listed = 0x45', 'listed = 0x46'],
  ],
  'protocol/encode.ts': [
    ['absent elements at the end are written', 'elements.at(-1) === undefined', 'false'],
    ['an empty map of options is written', '? options : undefined', '? options : options'],
    ['options that are empty are written', 'present(value as object)', 'value'],
    ['LISTED leaves out what a run is', '[TAG.listed, sid, run, info]', '[TAG.listed, sid, run]'],
    ['a cost of 1 is written', 'cost === 1 ? undefined : cost', 'cost'],
    ['a target is written back to front', 'return [type, id]', 'return [id, type]'],
    ['the count of merged texts is left out', 'writeOptionals(out, count, ts)', 'writeOptionals(out, undefined, ts)'],
    ['a DELTA counts no count', 'out.array(5 + optionals(count, ts))', 'out.array(5 + optionals(undefined, ts))'],
    [
      'the lane stands before the number of an item',
      'out.number(seq)\n  out.number(lane)',
      'out.number(lane)\n  out.number(seq)',
    ],
    ['of several frames only the first is written', 'concat(...frames)', 'concat(...frames.slice(0, 1))'],
    ['the detail of a reference is lost', '[ref.tag, ref.sid, ref.detail]', '[ref.tag, ref.sid]'],
  ],
  'protocol/pack.ts': [
    [
      'a negative zero is a float',
      'if (value >>> 0 === value)',
      'if (Object.is(value, -0)) out.push(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0)\n  else if (value >>> 0 === value)',
    ],
    [
      'integers of 32 bits are floats from 2^31 on',
      'value >>> 0 === value',
      'value >>> 0 === value && value >> 0 === value',
    ],
    ['negative integers are floats', 'if (value >> 0 === value)', 'if (false)'],
    ['small negative integers take two bytes', '0, 0x40, 0xd0', '0, 0x3e, 0xd0'],
    ['text of 31 bytes has a longer header', '0xa0, 0x20, 0xd9', '0xa0, 0x1f, 0xd9'],
    ['arrays and maps of 15 have a longer header', '0x10, isArray', '0x0f, isArray'],
    ['a short array is a map', '0x90 : 0x80', '0x80 : 0x80'],
    ['a short map is an array', '0x90 : 0x80', '0x90 : 0x90'],
    ['a long array is a map', '0xdb : 0xdd', '0xdd : 0xdd'],
    ['a long map is an array', '0xdb : 0xdd', '0xdb : 0xdb'],
    ['8 bits hold 256', 'span < 0x100 ', 'span <= 0x100 '],
    ['16 bits do not hold 65,535', 'span < 0x10000', 'span < 0xffff'],
    ['floats are written from their end', 'setFloat64(0, value)', 'setFloat64(0, value, true)'],
  ],
  'protocol/writer.ts': [
    ['-32 takes two bytes', 'value >= -0x20', 'value > -0x20'],
    ['-128 takes three bytes', 'value >= -0x80)', 'value > -0x80)'],
    ['-32,768 takes five bytes', 'value >= -0x8000', 'value > -0x8000'],
    [
      'a negative zero is a float',
      'if (value >>> 0 === value)',
      'if (Object.is(value, -0)) this.raw(new Uint8Array([0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0]))\n    else if (value >>> 0 === value)',
    ],
    ['8 bits hold 256', 'if (n < 0x100)', 'if (n <= 0x100)'],
    ['16 bits do not hold 65,535', 'if (n < 0x10000)', 'if (n < 0xffff)'],
    ['containers of 15 have a longer header', 'if (length < 0x10)', 'if (length < 0x0f)'],
    ['text of 31 bytes has a longer header', 'if (written < 0x20)', 'if (written < 0x1f)'],
    ['the character U+0080 is one byte', 'value.charCodeAt(i)) < 0x80', 'value.charCodeAt(i)) <= 0x80'],
    ['text is not moved for a longer header', 'if (start !== least)', 'if (false)'],
    ['a float goes into memory that was left', 'this.#view = undefined\n', '\n'],
    ['a float may reach beyond the memory', 'this.#room(9)\n', 'this.#room(8)\n'],
  ],
  'server/log/payload.ts': [
    ['the server reads what it has not scanned', 'const starts = scan(message, limits)', 'const starts = [0]'],
    ['the server takes small integers for records', 'useRecords: false', 'useRecords: true'],
    ['the server reads integers of 64 bits as another type', "int64AsType: 'number'", "int64AsType: 'bigint'"],
    ['the server keeps frames that it should skip', 'if (frame !== undefined) received', 'received'],
    ['the server reads one frame of a message', 'values.forEach((value, i)', 'values.slice(0, 1).forEach((value, i)'],
  ],
}

/** Small ones first: most breaks show in a few bytes. */
const inOrder: readonly Vector[] = vectors.toSorted((a, b) => messageOf(a).length - messageOf(b).length)

test('no vector fails the codec as it is', async () => {
  const codec = await codecWith()
  expect(inOrder.map((vector) => faultOf(codec, vector)).filter((fault) => fault !== undefined)).toEqual([])
})

test('a break that finds nothing to break is an error', async () => {
  const [file = ''] = Object.keys(breaks)
  await expect(codecWith({ file, find: 'this stands nowhere', replace: '' })).rejects.toThrow('exactly once')
  await expect(
    codecWith({ file: 'server/server.ts', find: 'export function createServer', replace: '' }),
  ).rejects.toThrow('no file of the codec')
})

describe.each(Object.entries(breaks))('a vector fails a codec in whose %s', (file, rows) => {
  test.each(rows)('%s', async (_, find, replace) => {
    const codec = await codecWith({ file, find, replace })
    expect(inOrder.some((vector) => faultOf(codec, vector) !== undefined)).toBe(true)
  })
})
