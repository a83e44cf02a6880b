import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { countValues, packPayload } from '../log/payload.ts'

/** Heap of a run besides its log and inputs: 6.1 to 6.7 KB, measured on runs that logged two words. */
const RUN_BYTES = 7_168
/** Heap of a small value of a decoded map, such as an empty list, measured. */
const VALUE_BYTES = 56

/** The bytes that a run takes once it has ended, without its inputs, approximately. */
export function retainedBytes(log: Log, end: LoggedEnd | undefined, meta: WireMap | undefined, limits: Limits): number {
  return RUN_BYTES + log.size + (end?.packed.length ?? 0) + (meta ? weightOf(meta, limits) : 0)
}

function weightOf(data: WireMap, limits: Limits): number {
  const packed = packPayload(data, limits)
  return packed.length + countValues(packed, limits) * VALUE_BYTES
}
