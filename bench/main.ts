/** `npm run bench`: asks the questions one after the other and prints their tables. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CommandLine, commandLine, usage } from './command-line.ts'
import type { Bench, BenchAnswer } from './question.ts'
import { QUESTIONS, REGRESS } from './questions.ts'
import { compared, keep, type LastFigures } from './regress.ts'
import { svg } from './stage/curves.ts'
import { coresToPin, machine } from './stage/machine.ts'
import { Stage } from './stage/stage.ts'
import { markdown, plain } from './stage/table.ts'

/** Beside the sources, wherever this was compiled to: `npm run` stands in the package's root. */
const LAST_FIGURES = 'bench/last-figures.json'

const { scale, asked, regress, keep: keeps, json, curves, file } = asking(process.argv.slice(2))
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
  const bench: Bench = { scale, stage, counts: (of) => of[scale], say: said, file }
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

const goals = [...answers.values()].flatMap((answer) => answer.goals ?? [])
if (goals.length > 0) {
  const last = existsSync(LAST_FIGURES) ? (JSON.parse(readFileSync(LAST_FIGURES, 'utf8')) as LastFigures) : undefined
  const { table, risen } = compared(goals, regress ? last : undefined)
  console.log(`${plain(table)}\n`)
  for (const words of risen) console.log(`RISEN BY A FIFTH OR MORE: ${words}`)
  if (keeps) writeFileSync(LAST_FIGURES, `${JSON.stringify(keep(machine(), goals, last), null, 2)}\n`)
}

if (curves !== undefined) {
  for (const [name, answer] of answers)
    for (const curve of answer.curves ?? []) writeFileSync(join(curves, `${name}.svg`), svg(curve))
}

const lines = [...answers.values()].flatMap(({ summary }) => summary)
if (lines.length > 0 && !regress)
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
    line = commandLine(args, QUESTIONS, REGRESS)
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n\n${usage(QUESTIONS)}`)
    process.exit(2)
  }
  if (!line.help) return line
  console.log(usage(QUESTIONS))
  process.exit(0)
}
