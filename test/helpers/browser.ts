import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'

/** Where Chromium is, if it is here: `CHROMIUM` of the environment, else where Debian puts it. */
export const CHROMIUM: string | undefined = [process.env['CHROMIUM'], '/usr/bin/chromium'].find(
  (path) => path !== undefined && existsSync(path),
)

/** A headless browser that calls nobody. */
export function launch(executablePath: string): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ]
  return chromium.launch({ executablePath, headless: true, args })
}

/** A server on 127.0.0.1 of one empty page that runs `browser-page.ts`. */
export interface PageServer extends AsyncDisposable {
  readonly origin: string
}

export async function pageServer(): Promise<PageServer> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('browser-page.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
  })
  const script = outputFiles[0]!.contents
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? script : '<!doctype html><title>page</title><script type="module" src="/page.js"></script>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Runs one of the page's experiments. */
export async function experiment<Result>(page: Page, name: string, ...args: unknown[]): Promise<Result> {
  return (await page.evaluate(
    ([called, given]) =>
      (globalThis as unknown as { experiments: { [name: string]: (...args: unknown[]) => Promise<unknown> } })
        .experiments[called as string]!(...(given as unknown[])),
    [name, args],
  )) as Result
}
