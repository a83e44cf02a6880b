import type { DownFrame, WireMap } from '../../protocol/frames.ts'
import { itemsOf, lanesBefore } from '../log/log-batch.ts'
import { unpackAll, unpackPayload } from '../log/payload.ts'
import { RecordingWriter } from '../recordings/recording-writer.ts'
import { DataFile } from '../stores/sqlite/data-file.ts'
import { dataFile } from './data-folder.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import type { Output } from './output.ts'
import { fullWords, recordedWords } from './recording-words.ts'

/** The stream id of the frames: a recording has one stream. */
const SID = 1

/** Records a run from the file of a store that no server uses. */
export async function recordStored(
  id: string,
  folder: string,
  file: string,
  redacted: boolean,
  output: Output,
): Promise<ExitCode> {
  await using stored = new DataFile(dataFile(folder))
  await stored.open()
  const run = await stored.find(id)
  if (!run) throw new Failure(EXIT.usage, `no run ${id} is stored there; millrace data export lists all of them`)
  const { actor, startedAt, packed } = run.facts
  const { input, options } = unpackPayload(packed) as { input?: unknown; options?: { meta?: WireMap } }
  const meta = options?.meta
  const writer = await RecordingWriter.create(file, {
    actor,
    startedAt,
    recordedAt: Date.now(),
    ...(input !== undefined && { input }),
    ...(meta && { meta }),
    ...(redacted && { redacted }),
  })
  try {
    let isFirst = true
    for await (const batch of stored.batches(run)) {
      if (isFirst)
        writer.take({
          kind: 'opened',
          sid: SID,
          run: id,
          next: batch.first,
          gen: run.gen,
          credit: 0,
          lanes: lanesBefore(batch),
        })
      isFirst = false
      for (const item of itemsOf(batch)) writer.take(frameOf(item))
      await writer.written()
      if (writer.isFull) break
    }
    if (isFirst) writer.take({ kind: 'opened', sid: SID, run: id, next: run.next, gen: run.gen, credit: 0 })
    if (run.end) {
      const { seq, outcome, packed: data } = run.end
      writer.take({ kind: 'end', sid: SID, seq, outcome, data: unpackPayload(data) as WireMap })
    }
  } finally {
    await writer.close()
  }
  await output.answer(`${recordedWords(file, writer)}\n`)
  if (writer.isFull) throw new Failure(EXIT.failed, fullWords(writer))
  return EXIT.ok
}

function frameOf({ seq, mark, at: ts, body }: { seq: number; mark: number; at: number; body: Uint8Array }): DownFrame {
  const values = unpackAll(body)
  if (mark >= 0) return { kind: 'delta', sid: SID, seq, lane: mark, body: String(values[0]), ts }
  const [type, data] = values as [number | string, WireMap]
  return { kind: 'event', sid: SID, seq, type, data, cost: -mark, ts }
}
