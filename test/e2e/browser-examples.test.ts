import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createVite } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, openWindow, type Window } from '../helpers/browser.ts'
import { type Serving, serving } from '../helpers/command.ts'
import { examplePage } from '../helpers/example-page.ts'
import { freePort } from '../helpers/free-port.ts'
import { root } from '../helpers/root.ts'

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(CHROMIUM === undefined)('the pages of the examples, in a real browser', () => {
  let window: Window

  beforeAll(async () => {
    window = await openWindow(CHROMIUM!)
  }, 120_000)
  afterAll(() => window[Symbol.asyncDispose]())

  test('the plain page types an answer, goes on with it after a reload, and stops it', async () => {
    await using example = await examplePage(window, 'plain-page')
    const page = await example.visit()
    await page.fill('input', 'Tell me about pages')
    await page.click('button[type=submit]')
    const longer = (than: number) =>
      expect.poll(async () => (await page.textContent('#answer'))?.length).toBeGreaterThan(than)
    await longer(80)
    await page.reload()
    await longer(120)
    expect(await page.textContent('#answer')).toMatch(/Tell me about pages/)
    // An answer takes a few seconds, and a page may take as long to load: the next one is stopped.
    await expect.poll(() => page.textContent('#state')).toBe('done')
    await page.fill('input', 'Tell me more')
    await page.click('button[type=submit]')
    await longer(0)
    await page.click('#stop')
    await expect.poll(() => page.textContent('#state')).toBe('Stopped. Provider: closed')
    expect(example.said).toEqual([])
    await page.close()
  }, 120_000)

  test('the first steps make a page that calls a tool, stops, and comes back, and a dashboard that shows its run', async () => {
    await using steps = await firstSteps()
    const page = await window.context.newPage()
    const said: string[] = []
    page.on('pageerror', (error) => void said.push(String(error)))
    await page.goto(steps.pageUrl)
    await page.click('text=Send')
    await expect.poll(() => page.textContent('#state'), { timeout: 20_000 }).toBe('done')
    expect(await page.textContent('#answer')).toMatch(/dice says: a \d\./)
    await page.fill('[name=question]', 'Tell me everything')
    await page.click('text=Send')
    await expect.poll(async () => (await page.textContent('#answer'))?.length).toBeGreaterThan(40)
    await page.reload()
    await expect.poll(async () => (await page.textContent('#answer'))?.length).toBeGreaterThan(40)
    await expect.poll(() => page.textContent('#state')).toBe('done')
    // An answer takes five seconds, and a page may take as long to load.
    const dashboard = await window.context.newPage()
    await dashboard.goto(steps.dashboardUrl)
    await page.bringToFront()
    await page.fill('[name=question]', 'Tell me more')
    await page.click('text=Send')
    await dashboard.bringToFront()
    await expect.poll(() => dashboard.textContent('.row')).toContain('helper')
    await page.bringToFront()
    await expect.poll(() => page.textContent('#state')).toBe('done')
    await page.fill('[name=question]', 'Tell me all')
    await page.click('text=Send')
    await page.click('#stop')
    const stopped = "stopped; the provider's socket: closed"
    await expect.poll(() => page.textContent('#state')).toBe(stopped)
    await page.reload()
    await expect.poll(() => page.textContent('#state')).toBe(stopped)
    await dashboard.close()
    await steps.serve[Symbol.asyncDispose]()
    await page.reload()
    await expect
      .poll(() => page.textContent('#state'), { timeout: 60_000 })
      .toMatch(/cannot be reached: reload the page/)
    expect(said).toEqual([])
    await page.close()
  }, 120_000)

  test('the chat with React answers with tools and an approval, stops, branches, comes back, and notifies', async () => {
    await using example = await examplePage(window, 'react-chat')
    const page = await example.visit()
    const ask = async (question: string): Promise<void> => {
      await page.fill('[name=question]', question)
      await page.press('[name=question]', 'Enter')
    }
    await page.evaluate(`globalThis.told = []
      globalThis.Notification = class { static permission = 'granted'; constructor(title) { told.push(title) } }`)
    await ask('Send a mail to Ada.')
    await page.click('text=Allow')
    await page.waitForSelector('text=That is all I was asked for')
    expect(await page.textContent('article.assistant')).toContain('sent to Ada')

    await page.waitForSelector('text=Send >> visible=true')
    await ask('Tell me about millrace')
    await page.waitForSelector('article:nth-of-type(4) .answer')
    await page.click('text=Stop')
    await page.waitForSelector('text=Stopped. Provider: closed')

    await page.click('article:nth-of-type(3) [aria-label=Edit]')
    await page.fill('[name=edited]', 'Tell me about tabs')
    await page.press('[name=edited]', 'Enter')
    await page.waitForSelector('article:nth-of-type(4) .answer:has-text("about tabs")')
    const elsewhere = await window.context.newPage()
    await expect.poll(() => page.evaluate('told.length'), { timeout: 15_000 }).toBe(1)
    expect(await page.evaluate('[told, document.hidden]')).toEqual([['The answer is complete'], true])

    const other = await example.visit()
    await other.waitForSelector('article:nth-of-type(3):has-text("2 of 2")')
    expect(await other.textContent('main')).toContain('sent to Ada')
    await other.click('[aria-label="Previous version"]')
    await other.waitForSelector('article:nth-of-type(3):has-text("Tell me about millrace")')
    await other.waitForSelector('article:nth-of-type(4):has-text("cancelled")')
    expect(example.said).toEqual([])
    await Promise.all([page, elsewhere, other].map((each) => each.close()))
  }, 120_000)
})

/** What docs/first-steps.md shows, as it is, but on ports that are free. */
async function firstSteps(): Promise<AsyncDisposable & { serve: Serving; pageUrl: string; dashboardUrl: string }> {
  const doc = readFileSync(`${root}docs/first-steps.md`, 'utf8')
  const shown = [...doc.matchAll(/^```(?:js|html)\n(?:\/\/|<!--) (\S+)(?: -->)?\n([^]*?)^```$/gm)]
  expect(shown.map(([, name]) => name)).toEqual(['agents.mjs', 'index.html', 'main.js'])
  for (const [, name = '', code] of shown)
    expect(readFileSync(`${root}examples/first-steps/${name}`, 'utf8')).toBe(code)

  // Within the package, whose name the files import.
  const folder = mkdtempSync(`${root}dist.first-steps-`)
  cpSync(`${root}examples/first-steps`, folder, { recursive: true })
  const [port, pagePort] = [await freePort(), await freePort()]
  for (const name of ['agents.mjs', 'main.js']) {
    const code = readFileSync(`${folder}/${name}`, 'utf8')
    writeFileSync(`${folder}/${name}`, code.replace('7400', String(port)).replace('5173', String(pagePort)))
  }
  const serve = await serving(['--config', `${folder}/agents.mjs`, '--port', String(port)])
  const vite = await createVite({
    root: folder,
    configFile: false,
    cacheDir: `${folder}/.vite`,
    logLevel: 'error',
    resolve: { alias: { 'millrace/client': `${root}dist/client-sdk/index.js` } },
    server: { port: pagePort, strictPort: true, fs: { allow: [root] } },
  })
  await vite.listen()
  return {
    serve,
    pageUrl: `http://localhost:${pagePort}/`,
    dashboardUrl: `http://localhost:${port}/#token=a-long-secret`,
    async [Symbol.asyncDispose]() {
      await vite.close()
      await serve[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
