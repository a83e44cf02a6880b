// Serves the page, and the agents at one path of the same server: `npx tsx examples/react-chat/start.ts`.
import { createServer as createHttp } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { bearer, createServer } from 'millrace/server'
import { createServer as createVite } from 'vite'
import { actors } from './actors.ts'

// Every page of this example is the same user. See docs/authentication.md for real ones.
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })

const http = createHttp()
const vite = await createVite({
  root: fileURLToPath(new URL('.', import.meta.url)),
  configFile: false,
  cacheDir: join(tmpdir(), 'millrace-react-chat'),
  plugins: [react()],
  server: { middlewareMode: true, hmr: { server: http } },
})
http.on('request', vite.middlewares)
server.attach(http, { path: '/agents' })
http.listen(Number(process.env.PORT ?? 5173), '127.0.0.1', () => {
  const { port } = http.address() as { port: number }
  console.log(`open http://127.0.0.1:${port}/`)
})

process.once('SIGTERM', () => {
  void server.close().then(async () => {
    await vite.close()
    http.close()
    http.closeAllConnections()
  })
})
