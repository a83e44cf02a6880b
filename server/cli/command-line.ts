import { EXIT, type ExitCode, Failure, refusal } from './exit.ts'
import type { Output } from './output.ts'
import { type Command, commandHelp, overviewHelp, wantsHelp } from './usage.ts'
import { version } from './version.ts'

/** The commands, each loaded when it is asked for: most need neither the server nor what that is made of. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).serve,
  worker: async () => (await import('./worker.ts')).worker,
  run: async () => (await import('./run.ts')).run,
  attach: async () => (await import('./attach.ts')).attach,
  send: async () => (await import('./send.ts')).send,
  answer: async () => (await import('./answer.ts')).answer,
  cancel: async () => (await import('./cancel.ts')).cancel,
  ls: async () => (await import('./ls.ts')).ls,
  top: async () => (await import('./top.ts')).top,
  record: async () => (await import('./record.ts')).record,
  replay: async () => (await import('./replay.ts')).replay,
  data: async () => (await import('./data.ts')).data,
  graph: async () => (await import('./graph.ts')).graph,
  mcp: async () => (await import('./mcp.ts')).mcp,
  verify: async () => (await import('./verify.ts')).verify,
  completion: async () => (await import('./completion.ts')).completion(all),
}

function all(): Promise<Command[]> {
  return Promise.all(Object.values(COMMANDS).map((load) => load()))
}

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
      await output.answer(overviewHelp(await all()))
      return name === undefined ? EXIT.usage : EXIT.ok
    case '--version':
    case '-v':
      await output.answer(`${version()}\n`)
      return EXIT.ok
    default:
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!load) {
    const names = Object.keys(COMMANDS).join(', ')
    throw new Failure(EXIT.usage, `unknown command ${name}; known commands: ${names}; see millrace --help`)
  }
  const command = await load()
  if (wantsHelp(args)) {
    await output.answer(commandHelp(command.usage))
    return EXIT.ok
  }
  return command.run(args, output)
}
