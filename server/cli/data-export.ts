import type { WireMap } from '../../protocol/frames.ts'
import type { ConversationData } from '../conversations/conversation-data.ts'
import { eventsOf } from '../log/chunk-events.ts'
import { itemsOf, lanesBefore } from '../log/log-batch.ts'
import { unpackPayload } from '../log/payload.ts'
import type { StoredRun } from '../stores/run-store.ts'
import type { DataFile } from '../stores/sqlite/data-file.ts'
import type { Output } from './output.ts'

/** Prints runs as lines of JSON, a line at a time. It stops when nobody reads them any more. */
export async function exportRuns(file: DataFile, principal: string | undefined, output: Output): Promise<void> {
  for await (const run of file.runs(principal)) {
    await output.answer(line(runFacts(run)))
    const lanes = new Map<unknown, WireMap>()
    for await (const batch of file.batches(run)) {
      if (batch.first === run.first) for (const [lane, opened] of lanesBefore(batch)) lanes.set(lane, opened)
      for (const { seq, mark, at, body } of itemsOf(batch)) {
        const [event] = eventsOf({ lane: mark < 0 ? undefined : mark, bodies: body }, lanes)
        if (event) await output.answer(line({ run: run.id, seq, at, event }))
      }
      if (output.gone.aborted) return
    }
    const { end } = run
    if (end)
      await output.answer(line({ run: run.id, seq: end.seq, outcome: end.outcome, data: unpackPayload(end.packed) }))
  }
}

/** Prints conversations the same way: the facts of one, then its messages of all branches, in the order they were begun. */
export async function exportConversations(
  stored: ConversationData,
  principal: string | undefined,
  output: Output,
): Promise<void> {
  for await (const { conversation, messages } of stored.all(principal)) {
    const { id, owner, version: _, bytes: __, ...facts } = conversation
    await output.answer(line({ conversation: id, principal: owner, ...facts }))
    for (const { n: number, version: ___, ...message } of messages)
      await output.answer(line({ conversation: id, number, message }))
    if (output.gone.aborted) return
  }
}

function runFacts({ id, facts, first, next, parked }: StoredRun): object {
  const { actor, principal, startedAt, packed } = facts
  return {
    run: id,
    actor,
    principal,
    startedAt,
    first,
    next,
    isWaiting: parked !== undefined,
    start: unpackPayload(packed),
  }
}

/** A line of JSON. Bytes are written as base64. */
function line(value: object): string {
  // A Buffer has its own idea of JSON, which comes before this function. Its holder still has the bytes.
  function plain(this: { readonly [key: string]: unknown }, key: string, each: unknown): unknown {
    const raw = this[key]
    return raw instanceof Uint8Array ? { base64: Buffer.from(raw).toString('base64') } : each
  }
  return `${JSON.stringify(value, plain)}\n`
}
