import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../protocol/errors.ts'
import { DEFAULT_LIMITS, type Limits, resolveLimits } from '../../protocol/limits.ts'

const names = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[]
const mayBeZero: readonly string[] = [
  'readAhead',
  'flushMs',
  'cancelGraceMs',
  'initialCredit',
  'resumeMs',
  'endedMs',
  'stallMs',
  'maxSessions',
]

describe('limits', () => {
  test('are the documented ones when none are given', () => {
    expect(resolveLimits()).toEqual(DEFAULT_LIMITS)
    expect(resolveLimits()).toMatchObject({
      maxStreams: 64,
      maxMessage: 262_144,
      maxDown: 131_072,
      maxEvent: 65_536,
      maxDepth: 16,
      maxValues: 16_384,
      creditUnit: 1_024,
      initialCredit: 256,
      maxCredit: 1_900,
      readAhead: 32,
      helloMs: 5_000,
      helloBytes: 16_384,
      heartbeatMs: 10_000,
      pongMs: 10_000,
      resumeMs: 300_000,
      endedMs: 600_000,
      retainEvents: 10_000,
      retainBytes: 4_194_304,
      cancelGraceMs: 1_000,
      inflight: 524_288,
      highWater: 262_144,
      slowMs: 30_000,
      timeoutMs: 600_000,
      maxWaitMs: 604_800_000,
      maxParkedBytes: 67_108_864,
      stallMs: 0,
    })
  })

  test('that are given replace the default and leave the others', () => {
    expect(resolveLimits({ maxStreams: 8 })).toEqual({ ...DEFAULT_LIMITS, maxStreams: 8 })
    expect(resolveLimits({ maxStreams: undefined })).toEqual(DEFAULT_LIMITS)
  })

  test('completed once are complete: resolving them again changes nothing', () => {
    const limits = resolveLimits({ maxCredit: 500, retainEvents: 1_000 })
    expect(resolveLimits(limits)).toEqual(limits)
  })

  test('never change the defaults', () => {
    resolveLimits({ maxStreams: 1 })
    expect(DEFAULT_LIMITS.maxStreams).toBe(64)
  })

  test.each(names.flatMap((name) => [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53].map((n) => [name, n])))(
    'refuse %s of %d',
    (name, value) => {
      expect(refusalOf({ [name as keyof Limits]: value })).toContain(`limits.${String(name)}`)
    },
  )

  test.each(names)('refuse %s as text or null', (name) => {
    expect(refusalOf({ [name]: '5' })).toContain(`limits.${name}`)
    expect(refusalOf({ [name]: null })).toContain(`limits.${name}`)
  })

  test.each(names.filter((name) => !mayBeZero.includes(name)))('refuse %s of 0', (name) => {
    expect(refusalOf({ [name]: 0 })).toContain(`limits.${name}`)
  })

  test.each(names.filter((name) => mayBeZero.includes(name)))('allow %s of 0', (name) => {
    expect(resolveLimits({ [name]: 0 })[name]).toBe(0)
  })

  test('refuse a name that does not exist, and name the one that was meant', () => {
    expect(refusalOf({ maxStream: 5 })).toBe('unknown limit maxStream; did you mean maxStreams?')
    expect(refusalOf({ toString: 5 })).toContain('unknown limit toString')
  })

  test.each<[string, Partial<Limits>, Partial<Limits>]>([
    ['fewer retained items than a pacing client may be behind', { retainEvents: 1_931 }, { retainEvents: 1_932 }],
    [
      'more credit than is retained',
      { maxCredit: 1_901, retainEvents: 1_932 },
      { maxCredit: 1_900, retainEvents: 1_932 },
    ],
    ['more read ahead than is retained', { readAhead: 8_101 }, { readAhead: 8_100 }],
    ['fewer retained bytes than a window of text', { retainBytes: 4_153_343 }, { retainBytes: 4_153_344 }],
    ['more initial credit than may be held', { initialCredit: 1_901 }, { initialCredit: 1_900 }],
    ['messages smaller than the largest event', { maxDown: 67_583 }, { maxDown: 67_584 }],
    ['events smaller than the end of a run', { maxEvent: 1_023 }, { maxEvent: 1_024 }],
    ['messages that alone would pass for a flood', { highWater: 43_690 }, { highWater: 43_691 }],
  ])('refuse %s, and allow the exact bound', (_, refused, allowed) => {
    expect(refusalOf(refused)).toMatch(/must (be|hold)/)
    expect(resolveLimits(allowed)).toMatchObject(allowed)
  })
})

function refusalOf(limits: object): string {
  try {
    resolveLimits(limits)
  } catch (error) {
    if (MillraceError.is(error, 'bad_request')) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}
