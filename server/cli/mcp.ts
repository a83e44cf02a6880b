import { once } from 'node:events'
import { Writable } from 'node:stream'
import { createClient } from '../../client-sdk/node.ts'
import type { Actor } from '../actors/actor.ts'
import { createServer } from '../server.ts'
import type { ServerOptions } from '../server-options.ts'
import { bearer } from '../sessions/auth.ts'
import { memory } from '../transports/memory.ts'
import { type Config, loadConfig } from './config-file.ts'
import { demoActors } from './demo-actors.ts'
import { EXIT, type ExitCode, Failure, messageOf } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import { withoutMcp } from './mcp-package.ts'
import { MODEL_NAMES, parseModel } from './model-option.ts'
import type { Output } from './output.ts'
import { terminalLogger } from './terminal-logger.ts'
import { type Command, readArgs } from './usage.ts'
import { version } from './version.ts'

const usage = {
  name: 'mcp',
  about: 'Serves actors as the tools of an MCP server, over stdin and stdout. It needs @modelcontextprotocol/server.',
  notes: [
    'Each actor is a tool. start_run, attach_run, steer_run and cancel_run are for runs that outlive a call.',
    'A client that supports elicitation asks its user what a run asks, such as for an approval.',
    'It ends when its stdin does. Everything but the protocol goes to stderr.',
  ],
  args: [],
  options: {
    model: {
      type: 'string',
      value: 'MODEL',
      about: `Model of the agents: ${MODEL_NAMES}. Default: MILLRACE_MODEL, else demo.`,
    },
    config: {
      type: 'string',
      value: 'FILE',
      about: 'Module whose default export has options of createServer, such as { actors }.',
    },
    verbose: { type: 'boolean', about: 'Also print runs to stderr. Default: only warnings and errors.' },
  },
  examples: ['millrace mcp', 'millrace mcp --config ./actors.mjs'],
} as const

/** The principal of all runs: whoever started this process. */
const PRINCIPAL = 'mcp'

/** `millrace mcp` */
export const mcp: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values } = readArgs(usage, args)
    const protocol = takeStdout()
    const config = values.config === undefined ? {} : await loadConfig(values.config)
    const { actorServer, serveStdio, StdioServerTransport } = await import('../mcp/stdio.ts').catch(
      withoutMcp('millrace mcp'),
    )
    const transport = memory()
    const named = values.model ?? (config.defaultModel ? undefined : process.env['MILLRACE_MODEL'] || 'demo')
    const options: ServerOptions<NonNullable<Config['actors']>> = {
      actors: demoActors,
      logger: terminalLogger(output, { errors: !config.onError, verbose: values.verbose ?? false }),
      ...config,
      ...(named === undefined ? {} : { defaultModel: await parseModel(named) }),
      // Whoever can start this process may do what it can.
      authenticate: bearer({ [PRINCIPAL]: PRINCIPAL }),
      transport,
    }
    try {
      const actors = new Map(Object.entries<Actor>(options.actors))
      const server = createServer(options)
      await server.listen()
      const client = createClient(transport.url, { token: PRINCIPAL, WebSocket: transport.WebSocket })
      const make = actorServer(actors, { name: 'millrace', version: version() })
      const served = serveStdio(() => make({ client }), {
        transport: new StdioServerTransport(process.stdin, protocol),
      })
      await Promise.race([
        once(process.stdin, 'end'),
        once(process.stdin, 'close'),
        new Promise<void>((resolve) => onInterrupt(() => resolve())),
      ])
      await served.close()
      await client.close()
      await server.close({ drainMs: 0 })
    } catch (error) {
      throw values.config === undefined
        ? error
        : new Failure(EXIT.usage, `${values.config}: ${messageOf(error)}`, error)
    }
    return EXIT.ok
  },
}

/** Keeps stdout for the protocol. What else this process writes there, such as an actor with `console.log`, goes to stderr. */
function takeStdout(): Writable {
  const write = process.stdout.write.bind(process.stdout)
  process.stdout.write = process.stderr.write.bind(process.stderr)
  return new Writable({ write: (chunk: Buffer, _, done) => void write(chunk, () => done()) })
}
