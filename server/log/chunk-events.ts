import { EVENT, fromWire, type RunEvent, textEvent } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Chunk } from './log.ts'
import { unpackAll } from './payload.ts'

/**
 * The events of a chunk or of one item, one for each item; undefined for the start and the end of a lane, which readers do not see.
 * @param lanes The open lanes by number, with the data of their `lane.start`. It is kept up to date.
 */
export function eventsOf(
  { lane, bodies }: Pick<Chunk, 'lane' | 'bodies'>,
  lanes: Map<unknown, WireMap>,
): (RunEvent | undefined)[] {
  const values = unpackAll(bodies)
  if (lane !== undefined) return values.map((text) => textEvent(lanes.get(lane), String(text)))
  const [type, data] = values as [number | string, WireMap]
  if (type === EVENT.laneStart) lanes.set(data['lane'], data)
  if (type === EVENT.laneEnd) lanes.delete(data['lane'])
  return [fromWire(type, data)]
}
