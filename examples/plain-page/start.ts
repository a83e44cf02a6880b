// A page without a build step: `npx tsx examples/plain-page/start.ts`. The browser gets the files of the client as they are.
import { readFile } from 'node:fs/promises'
import { createServer as createHttp } from 'node:http'
import { extname } from 'node:path'
import { agent, bearer, createServer, demo } from 'millrace/server'

const server = createServer({
  actors: { chat: agent({ model: demo() }) },
  authenticate: bearer({ 'a-long-secret': 'alice' }),
})

const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }
/** What the page may load: its own files, and those of the client and the protocol. */
const folders: Record<string, URL> = {
  page: new URL('.', import.meta.url),
  'client-sdk': new URL('.', import.meta.resolve('millrace/client')),
  protocol: new URL('.', import.meta.resolve('millrace/protocol')),
}

const http = createHttp((request, response) => {
  const path = request.url === '/' ? '/page/index.html' : (request.url ?? '')
  const [, folder = '', name = ''] = /^\/([\w-]+)\/([\w-]+\.\w+)$/.exec(path) ?? []
  const type = types[extname(name)]
  const found = type && folders[folder] ? readFile(new URL(name, folders[folder])) : Promise.reject(new Error(path))
  found.then(
    (file) => {
      response.setHeader('content-type', `${type}; charset=utf-8`)
      response.setHeader('content-security-policy', "default-src 'self'; img-src data:; connect-src 'self' ws:")
      response.end(file)
    },
    () => response.writeHead(404).end('not found'),
  )
})
server.attach(http, { path: '/agents' })
http.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const { port } = http.address() as { port: number }
  console.log(`open http://127.0.0.1:${port}/`)
})

process.once('SIGTERM', () => void server.close().then(() => http.close()))
