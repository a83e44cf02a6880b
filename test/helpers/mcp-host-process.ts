import type { McpServer } from '../../server/tools/mcp/mcp-tools.ts'
import { mcpTools } from '../../server/tools/mcp/mcp-tools.ts'

/** A process that has the tools of an MCP server and goes on for ever, until it is ended. */
const { server, onTerm } = JSON.parse(process.argv[2]!) as { server: McpServer; onTerm?: 'exit' }
if (onTerm === 'exit') process.on('SIGTERM', () => process.exit(0))
const tools = await mcpTools({ fake: server })
process.send!({ type: 'ready', tools: Object.keys(tools).length })
setInterval(() => {}, 60_000)
