import { expectTypeOf } from 'vitest'
import { type ErrorCode, MillraceError } from '../../protocol/errors.ts'

declare const caught: unknown

if (MillraceError.is(caught)) expectTypeOf(caught.code).toEqualTypeOf<ErrorCode>()
if (MillraceError.is(caught, 'timeout')) {
  expectTypeOf(caught.code).toEqualTypeOf<'timeout'>()
  expectTypeOf(caught.retryable).toEqualTypeOf<boolean>()
  // @ts-expect-error it is a timeout
  if (caught.code === 'draining') throw caught
} else if (MillraceError.is(caught, 'draining')) expectTypeOf(caught.code).toEqualTypeOf<'draining'>()
else expectTypeOf(caught).toEqualTypeOf<unknown>()

declare const error: MillraceError
if (MillraceError.is(error, 'cancelled')) expectTypeOf(error.code).toEqualTypeOf<'cancelled'>()
else expectTypeOf(error.code).toEqualTypeOf<ErrorCode>()

// @ts-expect-error there is no such code
MillraceError.is(caught, 'time_out')
