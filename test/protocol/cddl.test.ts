import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EVENT, type PlainEvent, type RunEnd, TOOL_OUTCOMES, toWire } from '../../protocol/events.ts'
import { FEATURES } from '../../protocol/features.ts'
import {
  type DownFrame,
  GAP_REASONS,
  INPUT_STATUSES,
  type ListedFacts,
  ON_DETACH,
  OUTCOMES,
  POLICIES,
  TAG,
} from '../../protocol/frames.ts'
import type { InspectedSession, InspectorUpdate, ReaderFacts, RunFacts } from '../../protocol/inspector.ts'
import { STATED_LIMITS } from '../../protocol/limits.ts'
import { readDown } from '../../protocol/read-down.ts'
import { readUp } from '../../protocol/read-up.ts'
import { CANCEL_CODES, type Receipt, type Usage, writeReceipt } from '../../protocol/receipt.ts'
import { scan } from '../../protocol/scan.ts'
import { type Group, keysOf, literalsOf, matches, parseSchema, ruleOf, type Type } from '../helpers/cddl.ts'
import { valuesOf } from '../helpers/cddl-values.ts'
import { type Direction, decoders, encoders, msgpackr, outcomeOf, plain, scanLimits } from '../helpers/codec-paths.ts'
import { exampleMessages, readProtocolDocument } from '../helpers/protocol-document.ts'
import { repetitions } from '../helpers/tier.ts'
import { messageOf, type Vector, vectors } from '../helpers/vectors.ts'
import { exact, schema } from '../helpers/wire-schema.ts'

const directions = ['up', 'down'] as const

/** Values of every type, to stand in the place of another. */
const others: readonly unknown[] = [
  ...[null, false, true, 0, 1, -1, 1.5, 2 ** 53, Number.NaN, '', 'x', 'pace', 'cancel', 'x'.repeat(600), [], ['x']],
  ...[[1, {}], ['call', 'c1'], [5, 1], [[1, {}]], [{}], {}, { a: 1 }, { a: 'x' }, 4, 5, 0x44, 0x70, 0x80],
  ...[new Uint8Array(1), new Uint8Array(16), new Uint8Array(33), new Uint8Array(65), new Uint8Array(600)],
]
const isAccepted = (direction: Direction, frame: unknown): boolean => matches(schema, `${direction}-frame`, frame)
const unpacked = (message: Uint8Array): unknown[] => msgpackr.unpackMultiple(message) as unknown[]

/** The names of the frames of a direction, as rules of the schema: those that a receiver accepts, or a sender writes. */
function framesOf(direction: Direction, layer: '' | 'written-' = ''): string[] {
  const root = ruleOf(schema, `${layer}${direction}-frame`)
  if (root.is !== 'choice') throw new Error('a root is no choice')
  return root.of.map((frame) => (frame as Extract<Type, { is: 'name' }>).name)
}

/** A frame with all of its elements. */
function longest(name: string): unknown[] {
  const frames = fc.sample(valuesOf(exact, name) as fc.Arbitrary<unknown[]>, 200)
  return frames.reduce((long, frame) => (frame.length > long.length ? frame : long), [])
}

/** By the number or type that a group of contents names first, the rule of its data. */
function contentsOf(rule: string, selector: string): Map<unknown, string> {
  const group = ruleOf(schema, rule) as Group
  return new Map(
    group.of.map((entries) => {
      const of = (key: string): Type | Group | undefined =>
        entries.find((entry) => entry.key?.is === 'literal' && entry.key.value === key)?.what
      const [selected, data] = [of(selector), of('data')]
      return [selected?.is === 'literal' ? selected.value : undefined, data?.is === 'name' ? data.name : ''] as const
    }),
  )
}

test('the schema has every tag of the wire, and those that a receiver skips', () => {
  const tags = directions
    .flatMap((direction) => framesOf(direction))
    .map((name) => {
      const frame = ruleOf(schema, name)
      const first = frame.is === 'array' ? frame.group.of[0]?.[0]?.what : undefined
      return first?.is === 'literal' ? first.value : first
    })
  expect(new Set(tags.filter((tag) => typeof tag === 'number'))).toEqual(new Set(Object.values(TAG)))
  const skipped = { is: 'range', least: 0x60, most: 0x7f }
  expect(tags.filter((tag) => typeof tag !== 'number')).toEqual([skipped, skipped])
})

describe('the schema and the vectors', () => {
  const hasStructure = (vector: Vector): boolean =>
    typeof outcomeOf(() => scan(messageOf(vector), scanLimits[vector.direction])) !== 'number'

  test.each(vectors.filter(({ meaning }) => meaning))('agree that $direction is accepted: $name', (vector) => {
    for (const frame of unpacked(messageOf(vector))) expect(isAccepted(vector.direction, frame)).toBe(true)
  })

  test('agree about every frame that is refused, but for the one whose size the schema cannot tell', () => {
    const refused = vectors.filter((vector) => vector.refusal && hasStructure(vector))
    expect(refused.length).toBeGreaterThan(250)
    const matching = refused.filter((vector) =>
      unpacked(messageOf(vector)).every((frame) => isAccepted(vector.direction, frame)),
    )
    expect(matching.map(({ name }) => name).sort()).toEqual([
      'START, meta of 1,025 bytes',
      'START, meta of 1,025 bytes in many values',
    ])
  })

  test('leave to the scan what is refused before there is a frame, and nothing else', () => {
    const structural = vectors.filter((vector) => vector.refusal && !hasStructure(vector))
    expect(new Set(structural.map(({ file }) => file))).toEqual(new Set(['refused-structure.json', 'limits.json']))
    const known = vectors.filter(({ file, refusal }) => refusal && file !== 'refused-frames.json')
    expect(structural.map(({ name }) => name)).toEqual(known.map(({ name }) => name))
  })
})

describe('the schema and the examples of PROTOCOL.md', () => {
  test.each(exampleMessages(readProtocolDocument('PROTOCOL.md')))(
    'agree about what line $line shows',
    ({ direction, frames }) => {
      for (const { array } of frames)
        expect(matches(exact, `written-${direction}-frame`, array), String(array)).toBe(true)
    },
  )
})

describe.each(directions)('the schema and the decoders of what goes %s', (direction) => {
  const accepts = (frame: unknown): boolean => {
    const message = msgpackr.pack(frame)
    const [own, scanned] = (['own', 'scanned'] as const).map((decoder) =>
      outcomeOf(() => decoders[direction][decoder](message)),
    )
    expect(typeof own).toBe(typeof scanned)
    return typeof own !== 'number'
  }

  test.each(framesOf(direction))('agree about every form of %s, and about what is wrong with it', (name) => {
    fc.assert(
      fc.property(valuesOf(schema, name), fc.option(damage), (frame, harm) => {
        const sent = harm ? damaged(frame, harm) : frame
        // The one size that the schema does not tell is that of `meta`.
        fc.pre(msgpackr.pack(sent).length <= 1_024)
        expect(accepts(sent)).toBe(isAccepted(direction, sent))
        if (!harm) expect(isAccepted(direction, frame)).toBe(true)
      }),
      { numRuns: repetitions({ quick: 60, full: 5_000 }) },
    )
  })

  test.each(framesOf(direction))('agree about every type of value in every element of %s', (name) => {
    const frame = longest(name)
    for (const at of frame.keys())
      for (const other of others) {
        const sent = frame.with(at, other)
        expect(accepts(sent), JSON.stringify(sent)).toBe(isAccepted(direction, sent))
      }
  })

  test.each([
    ...framesOf(direction).filter((name) => name !== 'extension'),
    ...framesOf(direction, 'written-').filter((name) => name.startsWith('written-')),
  ])('may come to more elements of %s in a later version', (name) => {
    const longer = [...longest(name), 'more']
    expect(matches(schema, name, longer)).toBe(true)
    expect(matches(exact, name, longer)).toBe(false)
  })

  test.each(framesOf(direction).filter((name) => name !== 'extension'))(
    'agree about what an encoder writes of %s',
    (name) => {
      fc.assert(
        fc.property(valuesOf(exact, name), (frame) => {
          const meant = decoders[direction].own(msgpackr.pack(frame))
          const written = encoders[direction](meant)
          for (const one of unpacked(written)) expect(matches(exact, name, one), JSON.stringify(one)).toBe(true)
          expect(plain(decoders[direction].own(written))).toEqual(plain(meant))
        }),
        { numRuns: repetitions({ quick: 40, full: 2_000 }) },
      )
    },
  )
})

/** The maps of frames, and a frame that holds one. */
describe.each<[rule: string, read: (value: unknown) => unknown, frame: (map: unknown) => unknown[]]>([
  ['hello-info', readUp, (map) => [TAG.hello, map]],
  ['start-options', readUp, (map) => [TAG.start, 1, 'a', null, map]],
  ['attach-options', readUp, (map) => [TAG.attach, 1, 'r', 0, map]],
  ['welcome-info', readDown, (map) => [TAG.welcome, map]],
  ['limits', readDown, (map) => [TAG.welcome, { session: 's', known: true, now: 1, limits: map }]],
  ['opened-info', readDown, (map) => [TAG.opened, 1, 1, map]],
  ['gap-info', readDown, (map) => [TAG.gap, 1, 1, 1, 0, map]],
])('the keys of %s', (rule, read, frame) => {
  const [sample = {}] = fc.sample(valuesOf(exact, rule) as fc.Arbitrary<Record<string, unknown>>, 1)
  const good: Record<string, unknown> = rule === 'limits' ? { ...STATED_LIMITS } : sample

  test('are those that a decoder looks at', () => {
    const asked = new Set<string>()
    const watched = new Proxy(good, {
      get: (map, key: string) => {
        asked.add(key)
        return map[key]
      },
    })
    read(frame(watched))
    expect([...asked].sort()).toEqual(keysOf(schema, rule).sort())
  })

  test.each(keysOf(schema, rule))('have in %s what a decoder accepts', (key) => {
    for (const other of others) {
      const map = { ...good, [key]: other }
      const isRead = typeof outcomeOf(() => [read(frame(map))]) !== 'number'
      expect(matches(schema, rule, map), JSON.stringify(map)).toBe(isRead)
    }
  })
})

describe('the words and numbers of the schema', () => {
  test.each<[rule: string, words: readonly string[]]>([
    ['outcome', OUTCOMES],
    ['gap-reason', GAP_REASONS],
    ['input-status', INPUT_STATUSES],
    ['tool-outcome', TOOL_OUTCOMES],
  ])('number %s as the code does', (rule, words) => {
    expect(keysOf(schema, rule)).toEqual(words)
    expect(literalsOf(schema, rule)).toEqual(words.map((_, index) => index))
  })

  test('are those of the code', () => {
    expect(literalsOf(schema, 'policy')).toEqual(POLICIES)
    expect(literalsOf(schema, 'on-detach')).toEqual(ON_DETACH)
    expect(literalsOf(schema, 'feature')).toEqual(FEATURES)
    expect(keysOf(schema, 'limits').sort()).toEqual(Object.keys(STATED_LIMITS).sort())
    const codes = literalsOf(schema, 'cancel-code')
    expect(Object.fromEntries(keysOf(schema, 'cancel-code').map((name, i) => [name, codes[i]]))).toEqual(CANCEL_CODES)
    const source = readFileSync(new URL('../../protocol/errors.ts', import.meta.url), 'utf8')
    const errors = [...source.matchAll(/^ {2}(?:\| )?'(\w+)',?$/gm)].map(([, code]) => code)
    expect(literalsOf(schema, 'error-code').toSorted()).toEqual(errors.toSorted())
  })
})

/** Nothing optional is left out. */
type Full<T> = T extends readonly unknown[] | Uint8Array ? T : T extends object ? { [K in keyof T]-?: Full<T[K]> } : T

const usage: Full<Usage> = { input: 10, output: 2, cached: 3, thinking: 1, cost: 0.25 }
const progress = { current: 1, total: 2, message: 'half' }
const receipt: Full<Receipt> = {
  ...{ reason: '255', by: 'client', note: 'stop', settled: false, ms: 0.5 },
  ...{ unsettled: ['actor'], provider: 'closed', tools: ['c1'], kept: 7 },
  continuing: ['r_9'],
  usage: { ...usage, exact: false },
}
const { reason, by, note, settled, ms, continuing } = receipt
const runUsage = { ...usage, exact: false }
const targetReceipt = { reason, by, note, settled, ms, continuing }

/** One event of each type with all that it may say; the checker knows when something is missing, or too much. */
const events: { [T in PlainEvent['type']]: Full<Extract<PlainEvent, { type: T }>> } = {
  'tool.call': { type: 'tool.call', agent: 'a', call: 'c1', name: 'search', args: { q: 1 }, client: true },
  'tool.progress': { type: 'tool.progress', agent: 'a', call: 'c1', progress, note: 'reading' },
  'tool.result': {
    ...{ type: 'tool.result', agent: 'a', call: 'c1', outcome: 'cancelled', output: [1], error: 'no', ms: 3.5 },
    ...{ args: { q: 2 }, truncated: true, receipt: targetReceipt },
  },
  request: {
    ...{ type: 'request', agent: 'a', id: 'q1', kind: 'confirm', prompt: 'Deploy?', schema: { type: 'boolean' } },
    ...{ call: 'c1', expiresAt: 1_767_225_600_000 },
  },
  iteration: { type: 'iteration', agent: 'a', n: 1, max: 8 },
  'iteration.end': { type: 'iteration.end', agent: 'a', n: 1, stop: 'stop' },
  usage: { type: 'usage', agent: 'a', ...usage },
  retry: { type: 'retry', agent: 'a', attempt: 1, delayMs: 500, code: 'provider_overloaded', provider: 'openai' },
  progress: { type: 'progress', agent: 'a', ...progress, step: 's1' },
  step: {
    ...{ type: 'step', agent: 'a', id: 's1', name: 'fetch', status: 'failed', ms: 3, output: null, error: 'no' },
    ...{ attempt: 2, retryMs: 500, truncated: true },
  },
  'agent.start': { type: 'agent.start', agent: 'a', name: 'writer', parent: 'p', run: 'r_1' },
  'agent.end': { type: 'agent.end', agent: 'a', outcome: 'error', usage: runUsage, receipt: targetReceipt },
  data: { type: 'data', agent: 'a', name: 'row', value: [1, null] },
  warning: { type: 'warning', agent: 'a', code: 'x', message: 'y' },
  notice: { type: 'notice', agent: 'a', code: 'input_taken', input: 'm', n: 2 },
}

/** The same with only what an event of its type must say. */
const leastEvents: { [T in PlainEvent['type']]: Extract<PlainEvent, { type: T }> } = {
  'tool.call': { type: 'tool.call', call: 'c1', name: 'search', args: undefined },
  'tool.progress': { type: 'tool.progress', call: 'c1' },
  'tool.result': { type: 'tool.result', call: 'c1', outcome: 'ok', ms: 0 },
  request: { type: 'request', id: 'q1', kind: 'confirm' },
  iteration: { type: 'iteration', n: 1, max: 8 },
  'iteration.end': { type: 'iteration.end', n: 1, stop: 'stop' },
  usage: { type: 'usage', input: 0, output: 0 },
  retry: { type: 'retry', attempt: 1, delayMs: 0, code: 'x' },
  progress: { type: 'progress', current: 0.5 },
  step: { type: 'step', id: 's1', name: 'fetch', status: 'start' },
  // Of which agent these are, no type requires, and they mean nothing without it.
  'agent.start': { type: 'agent.start', agent: 'a', name: 'writer' },
  'agent.end': { type: 'agent.end', agent: 'a', outcome: 'ok' },
  data: { type: 'data', name: 'row', value: undefined },
  warning: { type: 'warning', code: 'x', message: 'y' },
  notice: { type: 'notice', code: 'restarted' },
}

const doneData: Full<Pick<RunEnd, 'result' | 'usage' | 'stop' | 'iterations' | 'ms'>> = {
  ...{ result: { text: 'x' }, usage: runUsage, stop: 'stop', iterations: 2, ms: 310 },
}
const errorData: Full<NonNullable<RunEnd['error']> & Pick<RunEnd, 'usage'>> = {
  ...{ code: 'timeout', message: 'too slow', retryable: true, details: { afterMs: 5 }, usage: runUsage },
}
const spent = { input: 1, output: 1 }
const { note: _note, usage: _usage, continuing: _continuing, ...leastReceipt } = writeReceipt(receipt)
const { note: _noteToo, continuing: _continuingToo, ...leastTargetReceipt } = writeReceipt(targetReceipt)

const listedFacts: Full<Omit<ListedFacts, 'meta'>> & { meta: object } = {
  ...{ actor: 'chat', state: 'ended', outcome: 'done', gen: 1, seq: 7, startedAt: 5, meta: { page: '/a' } },
}
const reader: Full<ReaderFacts> = { policy: 'latest', own: true, perSec: 0 }
const inspectedRun: Full<RunFacts> = {
  ...{ id: 'r_1', actor: 'chat', principal: 'ada', sessions: ['s_1'], parent: 'r_0', state: 'ended', outcome: 'done' },
  ...{ node: 'n_1', gated: false, detached: true, startedAt: 5, inspector: true, readerCount: 1, readers: [reader] },
}
const inspectedSession: Full<InspectedSession> = { id: 's_1', principal: 'ada', connected: true, runs: 1 }
const inspectorUpdate: Full<InspectorUpdate> = {
  ...{ at: 5, scope: 'own', runs: [inspectedRun], figures: [['r_1', 3, 0.5, 12.5, -1, 7]], more: true },
  ...{ sessions: [inspectedSession], goneRuns: ['r_2'], goneSessions: ['s_2'] },
}
const { parent: _parent, node: _node, outcome: _outcome, inspector: _inspector, ...leastInspectedRun } = inspectedRun

/** Keys of values that the application makes. (`output` is a number where usage says it.) */
const isOfAnyType = ['args', 'schema', 'value', 'result', 'details']
const hasOutput = ['tool.result', 'step', 'client-tool-result']

const eventRules = contentsOf('event-content', 'type')

/** What is written into a frame: all that it may say, and the least. */
const contents: [rule: string, full: object, least: object][] = [
  ...Object.values(events).map((event): [string, object, object] => {
    const { type, data } = toWire(event)
    // As it travels: what is undefined does not.
    const least = JSON.parse(JSON.stringify(toWire(leastEvents[event.type]).data)) as object
    return [eventRules.get(type) ?? event.type, data, least]
  }),
  ['lane.start', { lane: 1, type: 'tool_args', call: 'c1', name: 'search', agent: 'a' }, { lane: 1, type: 'data' }],
  ['lane.end', { lane: 1 }, { lane: 1 }],
  ['counted', progress, { current: 1 }],
  ['target-receipt', writeReceipt(targetReceipt), leastTargetReceipt],
  ['done', doneData, { ms: 0 }],
  ['error', errorData, { code: 'internal', message: '', retryable: false }],
  ['receipt', writeReceipt(receipt), leastReceipt],
  ['dismissal', { code: 'overloaded', message: 'given up' }, { code: 'overloaded', message: '' }],
  ['usage-in-all', runUsage, spent],
  ['usage-of-cancelled', receipt.usage, { ...spent, exact: true }],
  ['approval', { call: 'c1', ok: true, note: 'go on', args: {}, remember: true }, { call: 'c1', ok: false }],
  ['answer', { request: 'q1', value: [1] }, { request: 'q1' }],
  ['listed-facts', listedFacts, { actor: 'chat', state: 'opening', gen: 1, seq: 0, startedAt: 5 }],
  ['inspector-update', inspectorUpdate, { at: 5 }],
  ['inspected-run', inspectedRun, leastInspectedRun],
  ['inspected-reader', reader, { policy: 'log', own: false }],
  ['inspected-session', inspectedSession, inspectedSession],
  ['client-tool-result', { call: 'c1', output: [1], error: 'no' }, { call: 'c1' }],
]

describe('the contents of frames', () => {
  test('are there for every type of event, and for those of applications', () => {
    expect([...eventRules.keys()]).toEqual([...Object.values(EVENT).toSorted((a, b) => a - b), undefined])
  })

  test('are there for every outcome', () => {
    expect([...contentsOf('end-content', 'outcome')].sort()).toEqual([
      [OUTCOMES.indexOf('done'), 'done'],
      [OUTCOMES.indexOf('error'), 'error'],
      [OUTCOMES.indexOf('cancelled'), 'receipt'],
      [OUTCOMES.indexOf('unsubscribed'), 'dismissal'],
    ])
  })

  test.each(Object.values(events))('are those of $type as the server packs it', (event) => {
    const { type, data } = toWire(event)
    const frame: DownFrame = { kind: 'event', sid: 1, seq: 1, type: type as number, data, cost: 1 }
    expect(matches(exact, 'written-event', unpacked(encoders.down([frame]))[0])).toBe(true)
  })

  test.each(contents)('of %s have the keys that the code gives them', (rule, full, least) => {
    expect(keysOf(schema, rule).sort()).toEqual(Object.keys(full).sort())
    expect(matches(exact, rule, full)).toBe(true)
    expect(matches(exact, rule, least)).toBe(true)
  })

  test.each(contents)('of %s need every key that is always there', (rule, _, least) => {
    for (const missing of Object.keys(least)) {
      const { [missing]: _missing, ...others } = least as Record<string, unknown>
      expect(matches(schema, rule, others), missing).toBe(false)
    }
  })

  test.each(contents)('of %s have a type for each key, but for those that may hold anything', (rule, full) => {
    for (const key of Object.keys(full))
      expect(matches(schema, rule, { ...full, [key]: [[]] }), key).toBe(
        isOfAnyType.includes(key) || (key === 'output' && hasOutput.includes(rule)),
      )
  })

  test.each(contents)('of %s may have more keys in a later version', (rule, full) => {
    expect(matches(schema, rule, { ...full, another: 1 })).toBe(true)
    expect(matches(exact, rule, { ...full, another: 1 })).toBe(false)
  })
})

describe('the schema language', () => {
  test.each([
    ['x = [1, ? a: tstr, * nil]', [[1], [1, 'a'], [1, null, null]], [[], [2], [1, 'a', 'b'], [1, null, 'a']]],
    ['x = [+ 1..3]', [[1], [3, 2]], [[], [4], [1.5], [1, 'a']]],
    ['x = {a: tstr, ? b: nil, * tstr => 7}', [{ a: '' }, { a: '', b: null, c: 7 }], [{}, { a: 1 }, { a: '', b: 7 }]],
    ['x = {* tstr => 7, a: 7}', [], [{ a: 7 }]],
    ['x = [(1, a: tstr // 2)]', [[1, ''], [2]], [[1], [2, '']]],
    ['x = tstr .size (0..2) / bstr .size 1', ['', 'é', new Uint8Array(1)], ['abc', 'éa', new Uint8Array(2)]],
    ['x = tstr .and ((tstr .ne "a") .and (tstr .ne "b"))', ['c'], ['a', 'b', 1]],
    ['x = &(a: 0, b: 1) ; no c', [0, 1], [2, 'a']],
    ['x = [g] g = (1, ? y) y = number .ge -1', [[1], [1, -1]], [[1, -2], [2], []]],
  ])('matches what %s says', (source, matching, others) => {
    const parsed = parseSchema(source)
    for (const value of matching) expect(matches(parsed, 'x', value), JSON.stringify(value)).toBe(true)
    for (const value of others) expect(matches(parsed, 'x', value), JSON.stringify(value)).toBe(false)
  })

  test.each([
    ['a rule that is not there', 'x = y', 'no rule y'],
    ['a rule that is there twice', 'x = nil\nx = tstr', 'line 2'],
    ['a control that is not known', 'x = tstr .cat "a"', 'line 1'],
    ['an open bracket', 'x = [1', 'the end'],
    ['what is no CDDL', 'x = nil\n%', 'line 2'],
  ])('refuses %s', (_, source, message) => {
    expect(() => parseSchema(source)).toThrow(message)
  })
})

type Damage = { path: number[]; how: 'replace' | 'drop' | 'append'; value: unknown }

/** What may be wrong with a frame: something within it is another value, is missing, or stands behind it. */
const damage: fc.Arbitrary<Damage> = fc.record({
  path: fc.array(fc.nat(), { maxLength: 4 }),
  how: fc.constantFrom('replace', 'replace', 'drop', 'append'),
  value: fc.constantFrom(...others),
})

function damaged(value: unknown, { path: [next, ...path], how, value: other }: Damage): unknown {
  if (Array.isArray(value)) {
    if (next === undefined || value.length === 0) return how === 'append' ? [...value, other] : other
    const at = next % value.length
    if (how === 'drop' && path.length === 0) return value.toSpliced(at, 1)
    return value.with(at, damaged(value[at], { path, how, value: other }))
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return other
  const keys = Object.keys(value)
  const key = keys[(next ?? 0) % keys.length]
  if (next === undefined || key === undefined) return how === 'append' ? { ...value, another: other } : other
  const { [key]: inner, ...rest } = value as Record<string, unknown>
  if (how === 'drop' && path.length === 0) return rest
  return { ...value, [key]: damaged(inner, { path, how, value: other }) }
}
