import type { Stage, StepReader } from './stage.ts'

/** A run that another server does, as its reader has it. */
export type FarRun = {
  readonly reader: Pick<StepReader<unknown>, 'done' | 'readOn'>
  /** How many items were read. */
  read(): number
  /** How many its actor has given away. */
  said(): number
}

/**
 * While all is well: a worker goes as far as the reader of its run takes its items, and on when that goes on.
 * @param from how many items are read before the reader stops. @param window by how many more the worker may be ahead.
 * @returns false if no worker has taken the run.
 */
export async function watchCredit(stage: Stage, run: FarRun, from: number, window: number): Promise<boolean> {
  const { reader } = run
  const wait = async (ms: number): Promise<void> => {
    for (const until = stage.time.now() + ms; stage.time.now() < until && !reader.done; ) {
      await stage.flush(60)
      await stage.time.advance(50)
    }
  }
  const readTo = async (item: number): Promise<void> => {
    for (let rounds = 0; rounds < 200 && run.read() < item && !reader.done; rounds++) {
      await reader.readOn(4)
      await wait(50)
    }
  }
  await readTo(from)
  if (reader.done) return false
  await wait(1_000)
  const before = run.said()
  await wait(2_000)
  const wentOn = run.said() !== before
  if (wentOn || before > run.read() + window)
    stage.fail('not-paced', `from ${before} to ${run.said()}, of which ${run.read()} are read`)
  await readTo(before + 1)
  if (run.read() <= before) stage.fail('not-resumed', `at ${run.read()} of ${run.said()}`)
  return true
}
