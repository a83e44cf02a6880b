import { describe, expect, test } from 'vitest'
import { type Direction, decoders, msgpackr, outcomeOf } from '../helpers/codec-paths.ts'

/** One value of each type of the wire, by what it can stand for. */
const samples = {
  nil: null,
  false: false,
  true: true,
  zero: 0,
  one: 1,
  'minus one': -1,
  'a fraction': 1.5,
  '2^53': 2 ** 53,
  'not a number': Number.NaN,
  text: 'x',
  'empty text': '',
  'a policy': 'log',
  'a way to detach': 'pause',
  'one byte': new Uint8Array(1),
  'sixteen bytes': new Uint8Array(16),
  'a long text': 'x'.repeat(600),
  'a long binary': new Uint8Array(600),
  'an empty array': [],
  'an array of texts': ['a', 'b'],
  'an array of maps': [{}],
  'an array of lanes': [[1, {}]],
  'a target': ['call', 'c1'],
  'a reference': [5, 1],
  'an empty map': {},
  'a map of numbers': { a: 1 },
} as const
type Sample = keyof typeof samples

const all = Object.keys(samples) as Sample[]
const numbers: Sample[] = ['zero', 'one']
const texts: Sample[] = ['text', 'empty text', 'a policy', 'a way to detach', 'a long text']
const shortTexts = texts.filter((name) => name !== 'a long text')
const keys: Sample[] = [...shortTexts, 'one byte', 'sixteen bytes']
const maps: Sample[] = ['an empty map', 'a map of numbers']
const optional = (accepted: Sample[]): Sample[] => ['nil', ...accepted]

/** What the protocol's table of frames says of each place: which samples may stand there. */
type Place = { accepts: Sample[]; good: unknown }
const place = (accepts: Sample[], good: unknown): Place => ({ accepts, good })

const sid = place(['one'], 1)
const uint = place(numbers, 1)
const positive = place(['one'], 1)
const str = place(texts, 'x')
const map = place(maps, {})
const any = place(all, 'x')
const enumerated = place(numbers, 0)
const lanes = optional(['an empty array', 'an array of lanes'])
const pending = optional(['an empty array', 'an array of maps'])
const subscription = {
  credit: place(optional(numbers), 1),
  policy: place(optional(['a policy']), 'log'),
  rate: place(optional(numbers), 1),
  ts: place(optional(['true', 'false']), true),
}
const options = place(optional(maps), {})

type Shape = {
  direction: Direction
  tag: number
  elements: Place[]
  /** Keys of the map that stands last. */
  keys?: { [key: string]: Place }
}

const frames: { [name: string]: Shape } = {
  HELLO: {
    direction: 'up',
    tag: 0x01,
    elements: [place([], null)],
    keys: {
      auth: any,
      client: place(['sixteen bytes'], new Uint8Array(16)),
      attempt: uint,
      name: place(optional(texts), 'x'),
      flushMs: place(optional(numbers), 1),
    },
  },
  START: {
    direction: 'up',
    tag: 0x02,
    elements: [sid, str, any, options],
    keys: {
      key: place(optional(keys), 'k'),
      ...subscription,
      onDetach: place(optional(['a way to detach']), 'pause'),
      detachMs: place(optional(numbers), 1),
      timeoutMs: place(optional(numbers), 1),
      ask: place(optional(['true', 'false']), true),
      meta: options,
    },
  },
  ATTACH: {
    direction: 'up',
    tag: 0x03,
    elements: [sid, str, place(optional(numbers), 0), options],
    keys: { gen: place(optional(numbers), 1), ...subscription },
  },
  CREDIT: { direction: 'up', tag: 0x04, elements: [sid, positive] },
  CANCEL: {
    direction: 'up',
    tag: 0x05,
    elements: [
      sid,
      place(optional(numbers), 1),
      place(optional(shortTexts), 'x'),
      place(optional(['a target']), ['call', 'c']),
    ],
  },
  INPUT: { direction: 'up', tag: 0x06, elements: [sid, place(keys, 'm'), str, any] },
  DETACH: { direction: 'up', tag: 0x07, elements: [sid] },
  RATE: { direction: 'up', tag: 0x08, elements: [sid, place(optional(numbers), 1)] },
  LIST: { direction: 'up', tag: 0x09, elements: [sid, place(optional(['true', 'false']), true)] },
  'PING up': { direction: 'up', tag: 0x10, elements: [uint] },
  'PONG up': { direction: 'up', tag: 0x11, elements: [uint] },
  'PING down': { direction: 'down', tag: 0x10, elements: [uint] },
  'PONG down': { direction: 'down', tag: 0x11, elements: [uint] },
  WELCOME: {
    direction: 'down',
    tag: 0x20,
    elements: [place([], null)],
    keys: {
      session: str,
      known: place(['true', 'false'], true),
      limits: map,
      now: uint,
      server: place(optional(texts), 'x'),
      features: place(optional(['an empty array', 'an array of texts', 'a target']), ['runs']),
    },
  },
  OPENED: {
    direction: 'down',
    tag: 0x21,
    elements: [sid, uint, place([], null)],
    keys: {
      run: str,
      gen: uint,
      credit: uint,
      reused: place(optional(['true', 'false']), true),
      lanes: place(lanes, []),
      pending: place(pending, []),
    },
  },
  INPUT_ACK: {
    direction: 'down',
    tag: 0x22,
    elements: [sid, place(keys, 'm'), enumerated, place(optional(texts), 'x')],
  },
  NOTICE: {
    direction: 'down',
    tag: 0x23,
    elements: [str, place(shortTexts, 'x'), place(optional(['a reference']), [5, 1])],
  },
  GOAWAY: { direction: 'down', tag: 0x24, elements: [str, uint, place(optional(numbers), 1)] },
  DELTA: {
    direction: 'down',
    tag: 0x40,
    elements: [
      sid,
      positive,
      uint,
      place([...texts, 'an array of texts', 'a target'], 'x'),
      // Without a count, which only a single text may have.
      place(optional(['one']), null),
      place(optional(numbers), 1),
    ],
  },
  EVENT: {
    direction: 'down',
    tag: 0x41,
    elements: [
      sid,
      positive,
      place([...numbers, ...texts], 1),
      map,
      place(optional(['one']), 1),
      place(optional(numbers), 1),
    ],
  },
  GAP: {
    direction: 'down',
    tag: 0x42,
    elements: [sid, uint, uint, enumerated, options],
    keys: { gen: place(optional(numbers), 1), lanes: place(lanes, []), pending: place(pending, []) },
  },
  LISTED: { direction: 'down', tag: 0x45, elements: [sid, place(optional(texts), 'r'), place(optional(maps), {})] },
  END: { direction: 'down', tag: 0x43, elements: [sid, uint, enumerated, map] },
}

describe.each(Object.entries(frames))('%s', (_, { direction, tag, elements, keys }) => {
  const goodMap = Object.fromEntries(Object.entries(keys ?? {}).map(([key, { good }]) => [key, good]))
  const good = [tag, ...elements.map((one) => one.good)]
  if (keys !== undefined) good[good.length - 1] = goodMap

  test('is accepted when every element has its type', () => {
    expect(accepts(direction, good)).toEqual([true, true])
  })

  test.each(elements.map((one, index) => ({ ...one, index: index + 1 })))(
    'accepts at element $index exactly the types that belong there',
    ({ accepts: accepted, index }) => {
      expect(acceptedSamples(direction, (sample) => good.with(index, sample))).toEqual(sorted(accepted))
    },
  )

  test.each(Object.entries(keys ?? {}))('accepts at the key %s exactly the types that belong there', (key, one) => {
    expect(acceptedSamples(direction, (sample) => good.with(-1, { ...goodMap, [key]: sample }))).toEqual(
      sorted(one.accepts),
    )
  })
})

const sorted = (names: Sample[]): Sample[] => all.filter((name) => names.includes(name))

function acceptedSamples(direction: Direction, frameWith: (sample: unknown) => unknown[]): Sample[] {
  return all.filter((name) => {
    const [own, scanned] = accepts(direction, frameWith(samples[name]))
    expect(own, name).toBe(scanned)
    return own
  })
}

function accepts(direction: Direction, frame: unknown[]): boolean[] {
  const message = msgpackr.pack(frame)
  return (['own', 'scanned'] as const).map((decoder) => {
    const outcome = outcomeOf(() => decoders[direction][decoder](message))
    if (typeof outcome === 'number') expect(outcome).toBe(4400)
    return typeof outcome !== 'number'
  })
}
