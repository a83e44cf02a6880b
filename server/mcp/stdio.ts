export { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
export { actorServer } from './actor-server.ts'
