import { packUp } from '../protocol/encode.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { UpFrame } from '../protocol/frames.ts'
import type { WireLimits } from '../protocol/wire-limits.ts'
import { SPARE } from './own-limits.ts'

/**
 * Checks a frame that an application's data is in, and copies it, so that later changes of the data are not sent.
 *
 * @param counts The application's numbers by name. Each must be an integer of at least 0.
 * @throws MillraceError `bad_request` for data that cannot travel or is too large, and for a wrong number.
 */
export function prepare<Frame extends UpFrame>(
  frame: Frame,
  { limits: { maxMessage, maxValues } }: { limits: WireLimits },
  counts: object = {},
): Frame {
  for (const [name, count] of Object.entries(counts)) {
    if (typeof count === 'number' && (count < 0 || !Number.isSafeInteger(count)))
      throw new MillraceError('bad_request', `${name} must be an integer of at least 0`)
  }
  if (packUp(frame).length > maxMessage - SPARE || countOf(frame) > maxValues - SPARE)
    throw new MillraceError('bad_request', `too large: maxMessage is ${maxMessage}, maxValues ${maxValues}`)
  return structuredClone(frame)
}

/** The number of values on the wire: the value itself, and all that it holds. */
function countOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1
  const perEntry = Array.isArray(value) ? 0 : 1
  return Object.values(value).reduce((sum: number, inner) => sum + perEntry + countOf(inner), 1)
}
