import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { MillraceError } from '../../../protocol/errors.ts'
import { boundedResponse } from './bounded-response.ts'
import { cancelledBy, EndpointTransport } from './endpoint-transport.ts'
import type { Endpoint, Program, ServerSettings } from './server-options.ts'

/** The largest message of a server, in bytes. */
const MAX_MESSAGE_BYTES = 10_485_760

/** The way to one MCP server, until it is closed. */
export type Link = {
  readonly transport: Transport
  /** Resolves when the last cancel has reached the server, or its pipe. Rejects when it cannot. */
  readonly cancelSent: () => Promise<void>
  /** Closes it. Resolves when the process has ended, if it has one. */
  readonly close: () => Promise<void>
}

/** Opens a way to a server. Nothing is started or sent yet. */
export function openLink({ reach, name }: ServerSettings): Link {
  const program = reach.type === 'program' ? programTransport(reach) : undefined
  const transport: Transport = program ?? endpointTransport(name, reach as Endpoint)
  const send = transport.send.bind(transport)
  let cancelSent: Promise<void> = Promise.resolve()
  // Patched, because the package looks at the class of its own transport when it starts a second process for a probe.
  transport.send = (message, options) => {
    const sent = send(message, options)
    if (cancelledBy(message) !== undefined) cancelSent = sent
    return sent
  }
  const ended = program && endWithProcess(program)
  return {
    transport,
    cancelSent: () => cancelSent,
    close: async () => {
      await transport.close()
      await ended?.()
    },
  }
}

/** The processes that have not ended. */
const running = new Set<number>()

function endRunning(): void {
  for (const pid of running) {
    try {
      process.kill(pid)
    } catch {
      // It has just ended.
    }
  }
}

/**
 * Ends a program with this process, should it still run then. One that is killed outright cannot do that; its programs see
 * their stdin end.
 * @returns a function that waits until the program has ended, or never started.
 */
function endWithProcess(program: StdioClientTransport): () => Promise<void> {
  let ended: Promise<void> = Promise.resolve()
  const start = program.start.bind(program)
  program.start = async () => {
    await start()
    const { pid } = program
    if (pid === null) return
    if (running.size === 0) process.on('exit', endRunning)
    running.add(pid)
    const { onclose } = program
    ended = new Promise((resolve) => {
      // The transport says this when the process has ended, and not already when it was asked to.
      program.onclose = () => {
        running.delete(pid)
        if (running.size === 0) process.off('exit', endRunning)
        resolve()
        onclose?.()
      }
    })
  }
  return () => ended
}

function programTransport({ program }: Program): StdioClientTransport {
  const { command, args = [], env = {}, cwd, stderr = 'inherit' } = program
  // The package adds HOME, USER and more to what it is given. A value of undefined takes such a variable out again.
  const withheld = Object.fromEntries(Object.keys(getDefaultEnvironment()).map((name) => [name, undefined]))
  const path = process.env['PATH']
  const whole = { ...withheld, ...(path !== undefined && { PATH: path }), ...env } as Record<string, string>
  return new StdioClientTransport({
    command,
    args: [...args],
    env: whole,
    stderr,
    maxBufferSize: MAX_MESSAGE_BYTES,
    ...(cwd !== undefined && { cwd }),
  })
}

function endpointTransport(name: string, { url, headers }: Endpoint): Transport {
  const tooLarge = (): MillraceError =>
    new MillraceError('tool_failed', `the MCP server ${name} sent a message above ${MAX_MESSAGE_BYTES} bytes`)
  const inner = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { ...headers } },
    fetch: async (input, init) => boundedResponse(await fetch(input, init), MAX_MESSAGE_BYTES, tooLarge),
    redirectPolicy: 'same-origin',
  })
  return new EndpointTransport(inner)
}
