import type { Recording } from '../recordings/recording.ts'
import { MAX_FILE } from '../recordings/recording-format.ts'
import type { RecordingWriter } from '../recordings/recording-writer.ts'

/** What was recorded, in one line. */
export function recordedWords(file: string, { items, missing, outcome }: RecordingWriter): string {
  const lost = missing > 0 ? `, without ${missing} that the server no longer had` : ''
  return `${file}: ${items} ${items === 1 ? 'item' : 'items'}${lost}; ${outcome ?? 'the run goes on'}`
}

/** That a recording has reached its largest size. */
export function fullWords({ items }: RecordingWriter): string {
  return `the recording is full: it has ${MAX_FILE / 1_048_576} MiB, the most that a replay reads, and ends behind ${items} items`
}

/** A recording in one line. */
export function recordingWords({ run, facts, items, outcome }: Recording): string {
  const when = new Date(facts.recordedAt).toISOString().slice(0, 16).replace('T', ' ')
  return `run ${run} of ${facts.actor}, recorded ${when} UTC: ${items} items, ${outcome ?? 'without an end'}`
}
