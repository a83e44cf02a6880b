import { join } from 'node:path'
import type { WireMap } from '../../protocol/frames.ts'
import { eventsOf } from '../log/chunk-events.ts'
import { itemsOf, lanesBefore } from '../log/log-batch.ts'
import { unpackPayload } from '../log/payload.ts'
import type { StoredRun } from '../stores/run-store.ts'
import { DataFile } from '../stores/sqlite/data-file.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import type { Output } from './output.ts'
import { type Command, readArgs } from './usage.ts'

/** The tasks of the command. */
const TASKS = ['check', 'compact', 'export', 'delete'] as const
type Task = (typeof TASKS)[number]

const usage = {
  name: 'data',
  about: 'Checks, compacts, exports or deletes the stored data of a server. The server must not run.',
  notes: [
    'check looks for damage; compact gives free room back to the disk, and needs as much again while it works;',
    'export prints runs as lines of JSON: a run, its events, its end; delete removes all runs of a principal for good.',
  ],
  args: ['<task>'],
  options: {
    data: { type: 'string', value: 'DIR', about: 'Folder of the data, as the server has it.' },
    principal: {
      type: 'string',
      value: 'ID',
      about: 'Principal whose runs are exported (default: all) or deleted.',
    },
  },
  examples: [
    'millrace data check --data ./data',
    'millrace data export --data ./data --principal alice > alice.jsonl',
    'millrace data delete --data ./data --principal alice',
  ],
} as const

/** The file of the data in a folder. */
export function dataFile(folder: string): string {
  return join(folder, 'millrace.db')
}

/** `millrace data` */
export const data: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const task = parseTask(positionals[0]!)
    const { data: folder, principal } = values
    if (!folder) throw new Failure(EXIT.usage, '--data is missing: name the folder of the data')
    if (task === 'delete' && !principal)
      throw new Failure(EXIT.usage, '--principal is missing: name the principal whose runs are to be deleted')
    if (principal !== undefined && task !== 'delete' && task !== 'export')
      throw new Failure(EXIT.usage, `--principal is for export and delete, not for ${task}`)
    await using file = await DataFile.open(dataFile(folder))
    switch (task) {
      case 'check':
        return await check(file, output)
      case 'compact': {
        output.busy('compacting')
        const { before, after } = await file.compact()
        await output.answer(`compacted: ${size(before)} before, ${size(after)} now\n`)
        return EXIT.ok
      }
      case 'export':
        await exportRuns(file, principal, output)
        return EXIT.ok
      case 'delete': {
        output.busy('deleting')
        const removed = await file.delete(principal!)
        await output.answer(`deleted: ${counted(removed, 'run')} of ${principal}\n`)
        return EXIT.ok
      }
    }
  },
}

function parseTask(named: string): Task {
  const task = TASKS.find((each) => each === named)
  if (!task) throw new Failure(EXIT.usage, `unknown task ${named}; known tasks: ${TASKS.join(', ')}`)
  return task
}

async function check(file: DataFile, output: Output): Promise<ExitCode> {
  output.busy('checking')
  const problems = await file.check()
  if (problems.length > 0) {
    for (const problem of problems) output.note(problem)
    output.fail('the data is damaged: restore a backup, or move the file away to begin without it')
    return EXIT.failed
  }
  const { runs, live, parked } = await file.counts()
  await output.answer(`sound: ${counted(runs, 'run')}, ${live} of them without an end, ${parked} waiting\n`)
  return EXIT.ok
}

/** Prints runs as lines of JSON, a line at a time. It stops when nobody reads them any more. */
async function exportRuns(file: DataFile, principal: string | undefined, output: Output): Promise<void> {
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

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function size(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`
}
