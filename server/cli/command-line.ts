import { answer } from './answer.ts'
import { attach } from './attach.ts'
import { cancel } from './cancel.ts'
import { data } from './data.ts'
import { EXIT, type ExitCode, Failure, refusal } from './exit.ts'
import { graph } from './graph.ts'
import { ls } from './ls.ts'
import { mcp } from './mcp.ts'
import type { Output } from './output.ts'
import { record } from './record.ts'
import { replay } from './replay.ts'
import { run } from './run.ts'
import { send } from './send.ts'
import { serve } from './serve.ts'
import { type Command, commandHelp, overviewHelp, wantsHelp } from './usage.ts'
import { version } from './version.ts'
import { worker } from './worker.ts'

const commands: readonly Command[] = [
  serve,
  worker,
  run,
  attach,
  send,
  answer,
  cancel,
  ls,
  record,
  replay,
  data,
  graph,
  mcp,
]

/** Runs the command that the arguments name. Resolves with the exit code; a failure is printed in one line. */
export async function commandLine(args: readonly string[], output: Output): Promise<ExitCode> {
  try {
    return await dispatch(args, output)
  } catch (error) {
    const { message, exitCode } = refusal(error)
    output.fail(message)
    return exitCode
  }
}

async function dispatch([name, ...args]: readonly string[], output: Output): Promise<ExitCode> {
  switch (name) {
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      await output.answer(overviewHelp(commands))
      return name === undefined ? EXIT.usage : EXIT.ok
    case '--version':
    case '-v':
      await output.answer(`${version()}\n`)
      return EXIT.ok
    default:
  }
  const command = commands.find(({ usage }) => usage.name === name)
  if (!command) {
    const names = commands.map(({ usage }) => usage.name).join(', ')
    throw new Failure(EXIT.usage, `unknown command ${name}; known commands: ${names}; see millrace --help`)
  }
  if (wantsHelp(args)) {
    await output.answer(commandHelp(command.usage))
    return EXIT.ok
  }
  return command.run(args, output)
}
