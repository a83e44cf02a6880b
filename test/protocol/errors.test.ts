import { describe, expect, test } from 'vitest'
import { CLOSE, closeAction, type ErrorCode, MillraceError, ProtocolFault } from '../../protocol/errors.ts'

describe('after a close, a client', () => {
  test.each([1000, 1002, 1003, 1007, 1009, 1010, 4400, 4403, 4406, 4409, 4413])('stops for good on %i', (code) => {
    expect(closeAction(code)).toBe('stop')
  })

  test.each([4402, 4404, 4407, 4421, 4499])('stops for good on %i, which this version does not know', (code) => {
    expect(closeAction(code)).toBe('stop')
  })

  test.each([1001, 1005, 1006, 1011, 1012, 1013, 1015, 3000, 4000, 4399, 4500, 4999])(
    'comes back after %i: a loss of any kind',
    (code) => {
      expect(closeAction(code)).toBe('resume')
    },
  )

  test.each([4408, 4429, 4430, 4503])('comes back after a backoff on %i', (code) => {
    expect(closeAction(code)).toBe('resume')
  })

  test('fetches credentials and comes back once on 4401', () => {
    expect(closeAction(CLOSE.unauthenticated)).toBe('reauthenticate')
  })

  test('comes back once on 4420, a fault that it saw itself', () => {
    expect(closeAction(CLOSE.sequenceFault)).toBe('resume_once')
  })
})

describe('an error', () => {
  test.each<[ErrorCode, boolean]>([
    ['bad_request', false],
    ['key_conflict', false],
    ['actor_failed', false],
    ['cancelled', false],
    ['overloaded', true],
    ['interrupted', true],
    ['connection_lost', true],
    ['provider_error', true],
  ])('of the code %s is retryable: %s', (code, retryable) => {
    expect(new MillraceError(code, 'm').retryable).toBe(retryable)
  })

  test('is retryable as its sender says, rather than by its code', () => {
    expect(new MillraceError('provider_error', 'm', { retryable: false }).retryable).toBe(false)
    expect(new MillraceError('tool_failed', 'm', { retryable: true }).retryable).toBe(true)
  })

  test('travels without its cause', () => {
    const error = new MillraceError('invalid_input', 'wrong', { cause: new Error('secret'), details: [{ path: 'a' }] })
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: 'invalid_input',
      message: 'wrong',
      retryable: false,
      details: [{ path: 'a' }],
    })
    expect(new MillraceError('internal', 'm').toJSON()).not.toHaveProperty('details')
    expect(error.cause).toEqual(new Error('secret'))
  })

  test('arrives as it left', () => {
    const left = new MillraceError('provider_error', 'm', { retryable: false, details: { afterMs: 5 } })
    const arrived = MillraceError.fromShape(left.toJSON())
    expect(arrived).toBeInstanceOf(MillraceError)
    expect(arrived.toJSON()).toEqual(left.toJSON())
  })

  test('of a code that a newer peer made up keeps the code and what came with it', () => {
    for (const retryable of [true, false]) {
      const error = MillraceError.fromShape({ code: 'out_of_moonlight', message: 'm', retryable })
      expect(error).toMatchObject({ code: 'out_of_moonlight', retryable })
    }
  })

  test('is recognised, also by its code and from another copy of this module', () => {
    const error = new MillraceError('timeout', 'm')
    const copy = Object.assign(new Error('m'), { name: 'MillraceError', code: 'timeout', toJSON: () => error })
    for (const one of [error, copy]) {
      expect(MillraceError.is(one)).toBe(true)
      expect(MillraceError.is(one, 'timeout')).toBe(true)
      expect(MillraceError.is(one, 'internal')).toBe(false)
    }
  })

  test.each([
    ['another error', new Error('m')],
    ['a foreign error of our name', Object.assign(new Error('m'), { name: 'MillraceError', code: 'timeout' })],
    ['an error with a code', Object.assign(new Error('m'), { code: 'timeout' })],
    ['its shape', { name: 'MillraceError', code: 'timeout', message: 'm' }],
    ['text', 'MillraceError'],
    ['null', null],
    ['undefined', undefined],
  ])('is not %s', (_, thing) => {
    expect(MillraceError.is(thing)).toBe(false)
  })

  test('made from a foreign thing hides it, and keeps it as cause', () => {
    for (const thing of [new Error('password: hunter2'), 'hunter2', undefined, { secret: 'hunter2' }]) {
      const error = MillraceError.from(thing)
      expect(error.code).toBe('internal')
      expect(error.message).not.toContain('hunter2')
      expect(error.cause).toBe(thing)
    }
    expect(MillraceError.from('x', 'tool_failed', 'the tool failed')).toMatchObject({
      code: 'tool_failed',
      message: 'the tool failed',
    })
  })

  test('made from one of ours is that one', () => {
    const error = new MillraceError('timeout', 'm')
    expect(MillraceError.from(error, 'internal')).toBe(error)
  })
})

describe('a protocol fault', () => {
  test('closes the connection as malformed unless it says otherwise', () => {
    expect(new ProtocolFault('m').closeCode).toBe(4400)
    expect(new ProtocolFault('m', CLOSE.tooLarge).closeCode).toBe(4413)
  })
})
