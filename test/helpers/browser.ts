import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { installed } from './installed.ts'

/** Where Chromium is, if it is here. */
export const CHROMIUM: string | undefined = installed({
  name: 'chromium',
  debianPackage: 'chromium',
  tests: 'the tests in a real browser',
})

/** Where the display without a screen is, if it is here. */
export const XVFB: string | undefined = installed({
  name: 'Xvfb',
  debianPackage: 'xvfb',
  tests: 'the tests of a hidden page in a window that is drawn',
})

/** A browser that calls nobody. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A headless browser that calls nobody. It takes every page for one that is shown. */
export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, headless: true, args: QUIET })
}

/** A browser with one window, in which only the page in front is shown. The others are hidden, as those of a user are. */
export interface Window extends AsyncDisposable {
  readonly context: BrowserContext
}

/** @param display Where the window is drawn, such as `:99`. Default: nowhere, the browser is headless. */
export async function openWindow(executablePath: string, display?: string): Promise<Window> {
  const profile = mkdtempSync(join(tmpdir(), 'millrace-window-'))
  const args = [...QUIET, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank']
  const chrome = spawn(executablePath, display === undefined ? ['--headless', ...args] : args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...(display !== undefined && { DISPLAY: display }) },
  })
  const ended = once(chrome, 'exit')
  const address = await new Promise<string>((resolve, reject) => {
    let said = ''
    chrome.once('error', reject)
    chrome.once('exit', () => reject(new Error(`the browser ended: ${said}`)))
    chrome.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const [found] = /ws:\/\/\S+/.exec(said) ?? []
      if (found) resolve(found)
    })
  })
  // Otherwise each page is told that it has the focus, and is never hidden.
  const browser = await chromium.connectOverCDP(address, { noDefaults: true })
  return {
    context: browser.contexts()[0]!,
    async [Symbol.asyncDispose]() {
      await (await browser.newBrowserCDPSession()).send('Browser.close')
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** A display without a screen, on which a browser opens its windows. */
export interface Display extends AsyncDisposable {
  readonly name: string
}

/** Starts a display of its own, whose number is free. */
export async function openDisplay(executablePath: string): Promise<Display> {
  const args = ['-displayfd', '1', '-screen', '0', '1280x800x24', '-nolisten', 'tcp']
  const xvfb = spawn(executablePath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(xvfb, 'exit')
  // It says its number once it can be used.
  const number = await Promise.race([
    once(xvfb.stdout.setEncoding('utf8'), 'data').then(([text]) => (text as string).trim()),
    ended.then(([code]) => Promise.reject(new Error(`the display ended with ${String(code)}`))),
  ])
  return {
    name: `:${number}`,
    async [Symbol.asyncDispose]() {
      xvfb.kill()
      await ended
    },
  }
}

const PAGE = `<!doctype html><title>page</title><link rel="icon" href="data:,"><div id="root"></div>
<script type="module" src="/page.js"></script>`

/** A server on 127.0.0.1 of one empty page that runs a script. */
export interface PageServer extends AsyncDisposable {
  readonly origin: string
}

/**
 * @param entry The script, a file of this folder.
 * @param workers Scripts of workers, files of this folder, by the paths at which the page finds them.
 */
export async function pageServer(
  entry = 'browser-page.ts',
  headers: Record<string, string> = {},
  workers: Record<string, string> = {},
): Promise<PageServer> {
  const scripts = new Map<string | undefined, Uint8Array>()
  for (const [path, file] of Object.entries({ '/page.js': entry, ...workers })) scripts.set(path, await bundled(file))
  const server = createServer(({ url }, response) => {
    const script = scripts.get(url)
    response.writeHead(200, { ...headers, 'content-type': script ? 'text/javascript' : 'text/html' })
    response.end(script ?? PAGE)
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

async function bundled(file: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(file, import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    define: { 'process.env.NODE_ENV': '"development"' },
  })
  return outputFiles[0]!.contents
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
