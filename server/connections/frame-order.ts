import { ProtocolFault } from '../../protocol/errors.ts'
import type { ReceivedFrame } from '../log/payload.ts'

/**
 * Checks a whole message before any of it is applied: HELLO comes first and once, and stream ids rise. Returns the
 * highest stream id.
 * @throws ProtocolFault
 */
export function checkOrder(received: readonly ReceivedFrame[], greeted: boolean, lastSid: number): number {
  let hello = greeted
  let sid = lastSid
  for (const { frame } of received) {
    if (frame.kind === 'hello') {
      if (hello) throw new ProtocolFault('a second HELLO')
      hello = true
    } else if (!hello) throw new ProtocolFault('HELLO must come first')
    if (frame.kind !== 'start' && frame.kind !== 'attach' && frame.kind !== 'list') continue
    if (frame.sid <= sid) throw new ProtocolFault(`stream id ${frame.sid} does not rise`)
    sid = frame.sid
  }
  return sid
}
