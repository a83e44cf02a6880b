import { createServer as createHttp } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createServer as createVite, type InlineConfig } from 'vite'

/** What of a millrace server is used here: `createServer` of `millrace/server` makes one. */
type Attachable = {
  attach(http: ReturnType<typeof createHttp>, options: { path: string }): void
  close(): Promise<void>
}

/** Serves the page of a folder with Vite, and agents at one path of the same server: `/agents`. Ends on SIGTERM. */
export async function servePage(server: Attachable, folder: URL, config: InlineConfig = {}): Promise<void> {
  const root = fileURLToPath(folder)
  const http = createHttp()
  const vite = await createVite({
    root,
    configFile: false,
    cacheDir: join(tmpdir(), `millrace-${basename(root)}`),
    server: { middlewareMode: true, hmr: { server: http } },
    ...config,
  })
  http.on('request', vite.middlewares)
  // Attached last: it answers for its own paths, and leaves the others to the page.
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
}
