import { decodeUp } from '../protocol/decode.ts'
import { packUp } from '../protocol/encode.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { UpFrame } from '../protocol/frames.ts'
import { MAX_DEPTH, SPARE, SPARE_VALUES } from './own-limits.ts'

/** The limits of a server that decide whether data can travel. */
type DataLimits = { readonly maxMessage: number; readonly maxDepth: number; readonly maxValues: number }

/** The limits that a frame was prepared for. They are not sent. Under the same limits it needs no other check. */
export type Prepared = { readonly limits?: DataLimits | undefined }

/**
 * Returns the frame as the server will get it: packed and decoded again, in a copy that later changes of the
 * application's data do not reach. Packed again, the copy has the same bytes, which a repeated START needs.
 *
 * @param limits The limits that the server has stated. Without them only the types are checked.
 * @throws MillraceError `bad_request` for data that cannot travel or is too large, and for an argument of a wrong type.
 * Errors thrown by a getter or a proxy in the data pass through unchanged.
 */
export function prepare<Frame extends UpFrame>(frame: Frame, limits?: DataLimits): Frame & Prepared {
  return { ...(check(packUp(frame, MAX_DEPTH), limits, SPARE, SPARE_VALUES) as Frame), limits }
}

/**
 * Decodes a packed frame as the server will.
 * @throws MillraceError `bad_request` for a frame that the server would refuse.
 */
export function check(
  bytes: number[],
  { maxMessage = Infinity, maxDepth = Infinity, maxValues = Infinity }: Partial<DataLimits> = {},
  spareBytes = 0,
  spareValues = 0,
): UpFrame {
  try {
    const room = { maxBytes: maxMessage - spareBytes, maxDepth, maxValues: maxValues - spareValues }
    return decodeUp(new Uint8Array(bytes), room)[0]!
  } catch (cause) {
    const { message } = cause as Error
    const advice = /large|length|depth/.test(message)
      ? `maxMessage is ${maxMessage}, maxDepth ${maxDepth}, maxValues ${maxValues}`
      : 'see its type'
    throw new MillraceError('bad_request', `${message}: ${advice}`, { cause })
  }
}
