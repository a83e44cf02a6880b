import { ConversationData } from '../conversations/conversation-data.ts'
import { DataFile } from '../stores/sqlite/data-file.ts'
import { exportConversations, exportRuns } from './data-export.ts'
import { dataFile } from './data-folder.ts'
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
    'export prints lines of JSON: each run, its events, its end, and each conversation and its messages;',
    'delete removes all runs and conversations of a principal for good.',
  ],
  args: ['<task>'],
  choices: TASKS,
  options: {
    data: { type: 'string', value: 'DIR', about: 'Folder of the data, as the server has it.' },
    principal: {
      type: 'string',
      value: 'ID',
      about: 'Principal whose runs and conversations are exported (default: all) or deleted.',
    },
  },
  examples: [
    'millrace data check --data ./data',
    'millrace data export --data ./data --principal alice > alice.jsonl',
    'millrace data delete --data ./data --principal alice',
  ],
} as const

/** `millrace data` */
export const data: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const task = parseTask(positionals[0]!)
    const { data: folder, principal } = values
    if (!folder) throw new Failure(EXIT.usage, '--data is missing: name the folder of the data')
    if (task === 'delete' && !principal)
      throw new Failure(EXIT.usage, '--principal is missing: name the principal whose data is to be deleted')
    if (principal !== undefined && task !== 'delete' && task !== 'export')
      throw new Failure(EXIT.usage, `--principal is for export and delete, not for ${task}`)
    await using file = new DataFile(dataFile(folder))
    const conversations = new ConversationData(file)
    await file.open()
    switch (task) {
      case 'check':
        return await check(file, conversations, output)
      case 'compact': {
        output.busy('compacting')
        await conversations.tidy()
        const { before, after } = await file.compact()
        await output.answer(`compacted: ${size(before)} before, ${size(after)} now\n`)
        return EXIT.ok
      }
      case 'export':
        await exportRuns(file, principal, output)
        if (!output.gone.aborted) await exportConversations(conversations, principal, output)
        return EXIT.ok
      case 'delete': {
        output.busy('deleting')
        const runs = await file.removeRuns(principal!)
        const removed = await conversations.removeAll(principal!)
        if (removed > 0) await conversations.tidy()
        if (runs + removed > 0) await file.compact()
        await output.answer(
          `deleted: ${counted(runs, 'run')} and ${counted(removed, 'conversation')} of ${principal}\n`,
        )
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

async function check(file: DataFile, conversations: ConversationData, output: Output): Promise<ExitCode> {
  output.busy('checking')
  const problems = [...(await file.check()), ...(await conversations.check())]
  if (problems.length > 0) {
    for (const problem of problems) output.note(problem)
    output.fail('the data is damaged: restore a backup, or move the file away to begin without it')
    return EXIT.failed
  }
  const { runs, live, parked } = await file.counts()
  const runWords = `${counted(runs, 'run')}, ${live} of them without an end, ${parked} waiting`
  await output.answer(`sound: ${runWords}; ${counted(await conversations.count(), 'conversation')}\n`)
  return EXIT.ok
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function size(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`
}
