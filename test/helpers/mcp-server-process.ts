import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import {
  acceptedContent,
  createMcpHandler,
  inputRequired,
  McpServer,
  type StandardSchemaWithJSON,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'
import type { McpCommand, McpReport, McpServerKind } from './mcp-server.ts'

/** A real MCP server. It reports what happens in it, and takes commands, through a socket of the test. */
const [kind, controlPort, givenPort = '0'] = process.argv.slice(2) as [McpServerKind, string, string?]
const control = connect(Number(controlPort), '127.0.0.1')
const report = (what: McpReport): void => void control.write(`${JSON.stringify(what)}\n`)

const servers = new Set<McpServer>()
const finishers = new Set<() => void>()
let extraTool: { name: string; description: string } | undefined

const commands: { [Type in McpCommand['type']]: (command: Extract<McpCommand, { type: Type }>) => void } = {
  /** Lets the slow calls end. */
  finish: () => {
    for (const finish of finishers) finish()
  },
  addTool: ({ name, description }) => {
    extraTool = { name, description }
    for (const server of servers) addExtra(server, extraTool)
    if (kind === 'stateless') handler.notify.toolsChanged()
  },
}

/** A schema that promises these members, and accepts anything. */
function unchecked(properties: object): StandardSchemaWithJSON {
  const schema = () => ({ type: 'object', properties, required: Object.keys(properties) })
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) => ({ value }),
      jsonSchema: { input: schema, output: schema },
    },
  }
}

function make(): McpServer {
  const server = new McpServer({ name: 'fake', version: '1.0.0' })
  servers.add(server)
  server.registerTool(
    'echo',
    { description: 'Repeats a text', inputSchema: z.object({ text: z.string() }) },
    ({ text }) => ({ content: [{ type: 'text', text }] }),
  )
  server.registerTool('slow', { description: 'Reports progress, and ends when it is told to' }, async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken
    if (progressToken !== undefined) {
      const params = { progressToken, progress: 1, total: 3, message: 'begun' }
      await mcpReq.notify({ method: 'notifications/progress', params })
    }
    report({ type: 'called', tool: 'slow' })
    await new Promise<void>((resolve) => {
      finishers.add(resolve)
      mcpReq.signal.addEventListener('abort', () => {
        report({ type: 'cancelled', reason: String(mcpReq.signal.reason) })
        resolve()
      })
    })
    return { content: [{ type: 'text', text: 'slow and done' }] }
  })
  server.registerTool('crash', { description: 'Ends the server' }, () => process.exit(7))
  server.registerTool('fails', { description: 'Fails' }, () => ({
    content: [{ type: 'text', text: 'no such city' }],
    isError: true,
  }))
  server.registerTool('throws', { description: 'Throws' }, () => {
    throw new Error('out of order')
  })
  server.registerTool('picture', { description: 'Paints' }, () => ({
    content: [
      { type: 'text', text: 'a dot' },
      { type: 'image', mimeType: 'image/png', data: Buffer.alloc(9).toString('base64') },
    ],
  }))
  server.registerTool(
    'weather',
    { description: 'The weather', outputSchema: z.object({ celsius: z.number() }) },
    () => ({ content: [{ type: 'text', text: '{"celsius":21}' }], structuredContent: { celsius: 21 } }),
  )
  server.registerTool(
    'lies',
    { description: 'The weather, in words', outputSchema: unchecked({ celsius: { type: 'number' } }) },
    () => ({ content: [{ type: 'text', text: 'warm' }], structuredContent: { celsius: 'warm' } }),
  )
  server.registerTool(
    'long',
    { description: 'A long text', inputSchema: z.object({ bytes: z.number() }) },
    ({ bytes }) => ({ content: [{ type: 'text', text: 'x'.repeat(bytes) }] }),
  )
  const form = z.object({ city: z.string() })
  server.registerTool('ask', { description: 'Asks for a city' }, ({ mcpReq }) => {
    const answers = mcpReq.inputResponses
    const content = acceptedContent(answers, 'where', form)
    if (content) return { content: [{ type: 'text', text: `it is in ${content.city}` }] }
    if (answers) return { content: [{ type: 'text', text: JSON.stringify(answers['where']) }] }
    const where = inputRequired.elicit({ message: 'Which city?', requestedSchema: form })
    return inputRequired({ inputRequests: { where } })
  })
  server.registerTool('environment', { description: 'The names of its variables' }, () => ({
    content: [{ type: 'text', text: Object.keys(process.env).sort().join(' ') }],
  }))
  if (extraTool) addExtra(server, extraTool)
  return server
}

function addExtra(server: McpServer, { name, description }: { name: string; description: string }): void {
  server.registerTool(name, { description }, () => ({ content: [{ type: 'text', text: `${name} works` }] }))
}

const handler = createMcpHandler(make, { legacy: 'reject' })

/** Sessions of the older protocol, by their id. */
const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()

async function handle(request: Request): Promise<Response> {
  if (kind === 'stateless') return handler.fetch(request)
  const id = request.headers.get('mcp-session-id')
  const known = id === null ? undefined : sessions.get(id)
  if (known) return known.handleRequest(request)
  if (id !== null) return new Response('unknown session', { status: 404 })
  const transport = new WebStandardStreamableHTTPServerTransport(
    kind === 'stateful'
      ? { sessionIdGenerator: randomUUID, onsessioninitialized: (id) => void sessions.set(id, transport) }
      : { sessionIdGenerator: undefined },
  )
  await make().connect(transport)
  return transport.handleRequest(request)
}

function serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const controller = new AbortController()
  outgoing.on('close', () => controller.abort())
  const { method = 'GET', url = '/' } = incoming
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) headers.set(name, String(value))
  report({ type: 'request', method, authorization: headers.get('authorization') })
  const request = new Request(new URL(url, 'http://127.0.0.1'), {
    method,
    headers,
    signal: controller.signal,
    ...(method === 'POST' && { body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: 'half' }),
  })
  handle(request).then(
    (response) => {
      outgoing.writeHead(response.status, Object.fromEntries(response.headers))
      outgoing.flushHeaders()
      if (response.body)
        Readable.fromWeb(response.body as never)
          .on('error', () => outgoing.destroy())
          .pipe(outgoing)
      else outgoing.end()
    },
    () => outgoing.destroy(),
  )
}

control.on('error', () => {})
control.on('connect', () => {
  report({ type: 'started', pid: process.pid })
  if (kind === 'stdio') serveStdio(make)
  else {
    const server = createServer(serve)
    server.listen(Number(givenPort), '127.0.0.1', () => {
      report({ type: 'listening', port: (server.address() as { port: number }).port })
    })
  }
})
createInterface({ input: control }).on('line', (line) => {
  const command = JSON.parse(line) as McpCommand
  commands[command.type](command as never)
})
if (kind === 'stdio') {
  // The socket of the test must not keep it alive: it ends when its stdin does, as its users expect of it.
  control.unref()
}
