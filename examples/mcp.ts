import { createClient } from 'millrace/client'
import { agent, anonymous, createServer, demo } from 'millrace/server'
import { type McpServer, mcpTools } from 'millrace/tools/mcp'

/** The server to use: an address, or a command with its arguments. */
function configured({ MCP_URL, MCP_COMMAND }: NodeJS.ProcessEnv): McpServer | undefined {
  if (MCP_URL) return { url: MCP_URL }
  const [command, ...args] = MCP_COMMAND?.split(' ') ?? []
  return command ? { command, args } : undefined
}

const mcp = configured(process.env)
if (mcp === undefined) {
  console.log('Set MCP_URL to the address of an MCP server, or MCP_COMMAND to a command that starts one, such as')
  console.log('MCP_COMMAND="npx -y @modelcontextprotocol/server-everything"')
  process.exit()
}

const tools = await mcpTools({ mcp })
console.log('tools:', Object.keys(tools).join(', '))

const actors = { assistant: agent({ model: demo({ tokensPerSec: Number.POSITIVE_INFINITY }), tools }) }
const server = createServer({ actors, authenticate: anonymous() })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

const run = client.start('assistant', process.argv[2] ?? 'What can you do?')
for await (const event of run) {
  if (event.type === 'tool.call') console.log(`> ${event.name}`, event.args)
  if (event.type === 'request') await run.send('answer', { request: event.id, value: null })
  if (event.type === 'tool.progress') console.log('  ', event.note ?? event.progress)
  if (event.type === 'tool.result') console.log(`< ${event.outcome}`, event.output ?? event.error)
  if (event.type === 'token') process.stdout.write(event.text)
}

await client.close()
// It also ends the MCP server, if that is a program.
await server.close({ drainMs: 0 })
