import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { agent, type Logger } from '../../../../server/index.ts'
import { type McpServer, mcpTools } from '../../../../server/tools/mcp/mcp-tools.ts'
import { calls, says, scriptedModel } from '../../../helpers/scripted-model.ts'
import { testServer } from '../../../helpers/server.ts'
import { stderrOf } from '../../../helpers/stderr.ts'

const TOKEN = 'canary-token-3f9c'
const OTHER = 'canary-header-77ab'
const headers = { authorization: `Bearer ${TOKEN}`, 'x-own-key': OTHER }
const echo = `not with ${TOKEN} of ${OTHER}`

type Message = { id?: number; method: string; params?: { protocolVersion?: string } }
type Fault = (message: Message, response: ServerResponse) => void

const json = (response: ServerResponse, body: object, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', ...body }))
}

/** What a server may do with a call: each repeats what it was sent. */
const faults: [what: string, fault: Fault][] = [
  [
    'a JSON-RPC error',
    ({ id }, response) => json(response, { id, error: { code: -32_603, message: echo, data: echo } }),
  ],
  [
    'a failed call',
    ({ id }, response) => json(response, { id, result: { isError: true, content: [{ type: 'text', text: echo }] } }),
  ],
  ...[400, 401, 403, 404, 500, 503].map((status): [string, Fault] => [
    `status ${status}`,
    (_, response) => response.writeHead(status, { 'www-authenticate': echo }).end(echo),
  ]),
  ['a redirect', (_, response) => response.writeHead(307, { location: `http://127.0.0.1:1/${TOKEN}` }).end(echo)],
  ['a page', (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(echo)],
  ['no JSON', (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(`{"${echo}`)],
  ['a cut', (_, response) => response.destroy()],
]

/** A server of the older protocol whose calls fail in that way. */
async function failing(fault: Fault): Promise<AsyncDisposable & { options: McpServer; sent: string[] }> {
  const sent: string[] = []
  const server = createServer((request, response) => void answer(request, response))
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    if (request.method !== 'POST') {
      response.writeHead(405).end()
      return
    }
    const message = JSON.parse(body) as Message
    sent.push(String(request.headers.authorization))
    const { id, method, params } = message
    if (id === undefined) response.writeHead(202).end()
    else if (method === 'tools/call') fault(message, response)
    else if (method === 'tools/list')
      json(response, { id, result: { tools: [{ name: 'look', inputSchema: { type: 'object' } }] } })
    else if (method !== 'initialize') json(response, { id, error: { code: -32_601, message: 'unknown method' } })
    else {
      const { protocolVersion } = params ?? {}
      const serverInfo = { name: 'failing', version: '1' }
      json(response, { id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } })
    }
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    sent,
    options: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, headers },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('the headers for an MCP server', () => {
  test.each(faults)('are in no log, no error and no frame after %s', async (_, fault) => {
    await using mcp = await failing(fault)
    const seen: unknown[] = []
    const model = scriptedModel(calls({ call: 'c1', name: 'far_look', args: {} }), says('ok'))
    const write = (...record: unknown[]): void => void seen.push(record)
    const logger: Logger = { debug: write, info: write, warn: write, error: write }
    const printed = await stderrOf(async () => {
      await using tools = await mcpTools({ far: mcp.options }, { onError: write })
      await using server = await testServer({ chat: agent({ model, tools }) }, { logger, onError: write })
      await using client = await server.client()
      client.start(1, 'chat', 'go')
      await client.next('end', 1)
      seen.push(client.frames)
    })
    expect(mcp.sent).toContain(headers.authorization)
    expect(JSON.stringify(model.asked[1])).toContain('Error: ')
    expect(printed + JSON.stringify(model.asked) + inspect(seen, { depth: 20 })).not.toMatch(/canary-(?:token|header)/)
  })

  test('are in no error of a server that refuses them when it is first asked', async () => {
    const server = createServer((_, response) => {
      json(response, { id: 0, error: { code: -32_603, message: echo } }, 200)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
    const error: unknown = await mcpTools({ far: { url, headers, connectMs: 300 } }).catch((thrown: unknown) => thrown)
    server.closeAllConnections()
    server.close()
    expect(error).toMatchObject({ code: 'unavailable' })
    expect(inspect(error, { depth: 20 })).not.toMatch(/canary/)
  })
})

describe('the environment and the arguments of an MCP program', () => {
  const programs: [what: string, command: string, args: string[]][] = [
    ['cannot be started', 'no-such-program-of-millrace', [TOKEN]],
    ['ends at once', process.execPath, ['-e', 'process.exit(3)', TOKEN]],
    ['writes no protocol', process.execPath, ['-e', 'console.log(process.env.SECRET); process.exit(0)']],
    [
      'refuses with what it was given',
      process.execPath,
      [
        '-e',
        `process.stdin.on('data', (line) => { const { id } = JSON.parse(String(line).split('\\n')[0]);
        console.log(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32603, message: process.env.SECRET } })) })`,
      ],
    ],
  ]
  test.each(programs)('are in no error and no log where it %s', async (_, command, args) => {
    const thrown: unknown[] = []
    const printed = await stderrOf(async () => {
      const far = { command, args, env: { SECRET: TOKEN }, connectMs: 2_000, stderr: 'ignore' as const }
      await mcpTools({ far }).catch((error: unknown) => thrown.push(error))
    })
    expect(thrown).toEqual([expect.objectContaining({ code: 'unavailable' })])
    // Node's own error of a program that cannot be started has its arguments: it is the cause, for operators.
    const words = thrown.map((error) => (error as Error).message).join()
    expect(words + printed).not.toMatch(/canary/)
  })
})
