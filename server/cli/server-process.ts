import type { Model } from '../models/model.ts'
import { createServer, type MillraceServer } from '../server.ts'
import type { ServerOptions } from '../server-options.ts'
import type { Authenticate } from '../sessions/auth.ts'
import type { Config } from './config-file.ts'
import { demoActors } from './demo-actors.ts'
import { EXIT, Failure, messageOf } from './exit.ts'
import { type InterruptSource, onInterrupt } from './interrupts.ts'
import { parseModel } from './model-option.ts'
import type { Output } from './output.ts'
import { terminalLogger } from './terminal-logger.ts'

/** The time limit for runs to end when a server drains, in seconds. */
export const DEFAULT_DRAIN_S = 10

/** The options of a server of the command line. */
export type Options = ServerOptions<NonNullable<Config['actors']>>

/** The options of a server, whatever it is for: those of its config file, and its model. */
export async function commonOptions(
  { model, verbose = false }: { readonly model?: string; readonly verbose?: boolean },
  config: Config,
  authenticate: Authenticate,
  output: Output,
): Promise<Options> {
  const named = model ?? (config.defaultModel ? undefined : process.env['MILLRACE_MODEL'] || 'demo')
  return {
    actors: demoActors,
    authenticate,
    logger: terminalLogger(output, { errors: !config.onError, verbose }),
    ...config,
    ...(named === undefined ? {} : { defaultModel: await parseModel(named) }),
  }
}

/** The server. What is wrong with its options is the fault of the config file, if there is one. */
export function create(options: Options, configFile: string | undefined): MillraceServer<Options['actors']> {
  try {
    return createServer(options)
  } catch (error) {
    throw configFile === undefined ? error : new Failure(EXIT.usage, `${configFile}: ${messageOf(error)}`, error)
  }
}

/** The model, as it is printed when a server begins. */
export function modelWords(model: Model | undefined): string {
  const id = model?.id ?? 'none'
  return `${id}${id === 'demo' ? ' (offline; for a real one: --model ollama:NAME or --model openai:NAME)' : ''}`
}

/**
 * Waits for Ctrl-C, SIGTERM or the end of the terminal, and resolves when the server has drained.
 * @param source where they come from. Default: the process.
 */
export async function drained(
  server: MillraceServer<Options['actors']>,
  drainS: number,
  output: Output,
  source?: InterruptSource,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const pressed = (times: number): void => {
      if (times > 1) {
        output.fail('quit at once')
        process.exit(EXIT.interrupted)
      }
      const runs = server.liveRuns
      if (runs > 0) {
        const count = runs === 1 ? '1 run' : `${runs} runs`
        output.note(`draining: waiting up to ${drainS} s for ${count} to end; press Ctrl-C again to quit at once`)
        output.busy('draining')
      }
      server.close({ drainMs: drainS * 1_000 }).then(resolve, reject)
    }
    onInterrupt(pressed, source)
  })
  if (!source) output.note('drained')
}
