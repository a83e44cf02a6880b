/** `npm run bench`: asks the questions one after the other and prints their tables. */
import { writeFileSync } from 'node:fs'
import { type CommandLine, commandLine, usage } from './command-line.ts'
import type { Bench, BenchAnswer } from './question.ts'
import { QUESTIONS } from './questions.ts'
import { coresToPin, machine } from './stage/machine.ts'
import { Stage } from './stage/stage.ts'
import { markdown, plain } from './stage/table.ts'

const { scale, asked, json } = asking(process.argv.slice(2))
const isTerminal = process.stderr.isTTY

console.log(`${machine()}\n`)
if (!coresToPin()) console.log('taskset is missing: the processes are not bound to cores, and the figures vary more.\n')

const answers = new Map<string, BenchAnswer>()
for (const { name, ask } of asked) {
  const startedAt = performance.now()
  const said = (words: string): void => {
    if (isTerminal) process.stderr.write(`\r\u001b[K${name}: ${words}`)
  }
  await using stage = new Stage()
  const bench: Bench = { scale, stage, counts: (of) => of[scale], say: said }
  const answer = await ask(bench)
  if (isTerminal) process.stderr.write('\r\u001b[K')
  answers.set(name, answer)
  for (const table of answer.tables) console.log(`${plain(table)}\n`)
  console.log(`(${name}, ${((performance.now() - startedAt) / 1_000).toFixed(0)} s)\n`)
}

const failures = [...answers].flatMap(([name, answer]) => answer.failures.map((words) => `${name}: ${words}`))
if (failures.length > 0) {
  console.log(`${failures.join('\n')}\n`)
  process.exitCode = 1
}

const lines = [...answers.values()].flatMap(({ summary }) => summary)
console.log(
  markdown({
    columns: ['', 'millrace on ws', 'millrace on uWS', 'others'],
    rows: lines.map(({ goal, ws, uws, others }) => [goal, ws, uws, others]),
  }),
)
console.log(`\n${machine()}. "x" is times raw ws sending one frame per token, in the same run.`)

if (json !== undefined) {
  const figures = Object.fromEntries([...answers].map(([name, answer]) => [name, answer.figures]))
  writeFileSync(json, `${JSON.stringify({ machine: machine(), scale, figures }, null, 2)}\n`)
}

function asking(args: readonly string[]): CommandLine {
  let line: CommandLine
  try {
    line = commandLine(args, QUESTIONS)
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n\n${usage(QUESTIONS)}`)
    process.exit(2)
  }
  if (!line.help) return line
  console.log(usage(QUESTIONS))
  process.exit(0)
}
