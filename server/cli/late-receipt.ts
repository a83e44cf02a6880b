import type { Output } from './output.ts'
import type { Remote } from './remote.ts'

/** How long a receipt takes before the user hears what it may wait for, in milliseconds. Work has 1 s to stop by default. */
const LATE_MS = 2_000

/**
 * Waits for the result of a cancel, however long that takes. If it is late, a line on stderr says what it may wait for. A lost
 * connection has lines of its own.
 */
export async function receiptOf<Result>(cancelling: Promise<Result>, remote: Remote, output: Output): Promise<Result> {
  const late = setTimeout(() => {
    if (remote.client.status !== 'open') return
    output.note(
      "no receipt yet: the cancel was sent, and the run may have stopped; its end may wait for the server's store, or for work that ignores its signal; Ctrl-C stops waiting",
    )
  }, LATE_MS)
  try {
    return await cancelling
  } finally {
    clearTimeout(late)
  }
}
