import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { CHROMIUM, launch } from '../helpers/browser.ts'
import { serving } from '../helpers/command.ts'
import { type DashboardServer, dashboardServer, expectAccessible, pagesOf } from '../helpers/dashboard-page.ts'
import { PATIENCE_MS } from '../helpers/patience.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { repetitions } from '../helpers/tier.ts'

/** Each flow takes a second or more of a browser: those that tests of their parts cover as well are in the soak. */
const isThorough = repetitions({ quick: 0, full: 1 }) > 0

/** Parts of the page whose code comes after the list. */
const LATER = ['conversations', 'plot-drawing', 'run-panes', 'timeline']

type Launched = Awaited<ReturnType<typeof launch>>

describe.skipIf(CHROMIUM === undefined)('the dashboard in a real browser', () => {
  let browser: Launched
  let server: DashboardServer
  let context: BrowserContext
  let visit: (url: string) => Promise<Page>
  const said: string[] = []

  beforeAll(async () => {
    ;[browser, server] = await Promise.all([launch(CHROMIUM!), dashboardServer()])
    context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    visit = pagesOf(context, said)
  }, 60_000)
  afterEach(async () => {
    await Promise.all(context.pages().map((page) => page.close()))
    // The policy of the page would be reported here, too.
    expect(said.splice(0)).toEqual([])
  })
  afterAll(async () => {
    await browser.close()
    await server[Symbol.asyncDispose]()
  })

  /** The page of ann, which has found the server. */
  async function open(query = '', token = 'ann'): Promise<Page> {
    const page = await visit(`${server.pageUrl}${query}#token=${token}`)
    await page.waitForSelector('.totals b')
    return page
  }
  const rowOf = (id: string): string => `.row[data-run="${id}"]`
  /** The scripts of the page, and what each is of. */
  const isScript = /\/assets\/[^/]+\.js$/
  const partOf = (url: string): string => /([^/]+)-[\w-]{8}\.js$/.exec(url)?.[1] ?? ''
  /** What a browser says of what it could not reach is no error of the page. */
  const forgetRefusals = (): void => {
    const isRefusal = (line: string): boolean =>
      /WebSocket connection to .* failed|ERR_EMPTY_RESPONSE|ERR_CONNECTION|ERR_FAILED/.test(line)
    said.splice(0, said.length, ...said.filter((line) => !isRefusal(line)))
  }
  /** What has the focus: the words of a button, or the run of a row. */
  const focused = (page: Page): Promise<string> =>
    page.evaluate('document.activeElement.dataset.run ?? document.activeElement.textContent')
  /** Waits until an expression holds. It is asked from outside: the policy of the page allows no code that is text. */
  const until = (page: Page, holds: string): Promise<void> =>
    expect.poll(() => page.evaluate(holds), { timeout: 8_000, interval: 20, message: holds }).toBe(true)
  const tabTo = async (page: Page, name: string): Promise<void> => {
    for (let times = 0; (await focused(page)) !== name; times++) {
      if (times > 40) throw new Error(`the keyboard does not come to ${name}`)
      await page.keyboard.press('Tab')
    }
  }

  test('opens at the address that serve prints, and takes the token out of it', async () => {
    await using own = await serving()
    const [, url = ''] = await own.server.said('stdout', /(http:\S+#token=[\da-f]{32})\n/)
    const page = await visit(url)
    await page.waitForSelector('.totals b')
    expect(page.url()).toBe(`${new URL(url).origin}/`)
    expect(await page.textContent('.empty h2')).toBe('No runs yet')
    await page.reload()
    await page.waitForSelector('.totals b')
    expect(await page.evaluate('history.length')).toBeLessThanOrEqual(2)
    await page.close()
  })

  test('asks for a token, says when one is refused, and takes another', async () => {
    const page = await visit(server.pageUrl)
    expect(await page.textContent('.sign-in h1')).toBe('Open the dashboard')
    await page.fill('.sign-in input', 'nobody')
    await page.keyboard.press('Enter')
    await page.waitForSelector('[role=alert]')
    expect(await page.textContent('.sign-in h1')).toBe('The token was refused')
    await page.fill('.sign-in input', 'ann')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.totals b')
    expect(await page.locator('.sign-in').count()).toBe(0)
  })

  test('shows the list before the code of anything else has come, which comes by itself', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const waiting = new Set<string>()
    await context.route(isScript, async (route) => {
      const part = partOf(route.request().url())
      if (LATER.includes(part)) {
        waiting.add(part)
        await released
      }
      await route.continue()
      waiting.delete(part)
    })
    const id = await server.start('endless', 'Go on')
    const page = await open()
    await page.waitForSelector(rowOf(id))
    await expect.poll(() => [...waiting].sort(), { timeout: PATIENCE_MS }).toEqual(LATER)
    expect(await page.locator('canvas').count()).toBe(0)
    release()
    await page.waitForSelector('canvas')
    await page.click(rowOf(id))
    await page.waitForSelector('.run h2')
    await context.unroute(isScript)
  })

  test('a part of the page that could not be loaded says so, and comes when one tries again', async () => {
    const missing = new Set(['run-panes', 'timeline'])
    await context.route(isScript, (route) =>
      missing.has(partOf(route.request().url())) ? route.abort() : route.continue(),
    )
    const id = await server.start('count', { to: 3 })
    const page = await open(`?run=${id}&tab=timeline`)
    const parts = [
      { name: 'run-panes', place: '.split', words: 'The view of a run could not be loaded.', shown: '.run h2' },
      { name: 'timeline', place: '.panel', words: 'The timeline could not be loaded.', shown: '.lanes' },
    ]
    for (const { name, place, words, shown } of parts) {
      await page.waitForSelector(`${place} [role=alert]:has-text("${words}")`)
      await page.click(`${place} button:text-is("Try again")`)
      await page.waitForSelector(`${place} button:text-is("Try again")`)
      missing.delete(name)
      await page.click(`${place} button:text-is("Try again")`)
      await page.waitForSelector(shown)
    }
    expect(await page.getByText('could not be loaded').count()).toBe(0)
    await context.unroute(isScript)
    forgetRefusals()
  })

  test('shows what needs a person, and an approval takes two keys', async () => {
    const page = await open()
    await page.waitForSelector('.needs[data-empty=true]')
    const run = server.client.start('assistant', 'Send a mail to Ada')
    const { text } = await run.opened.then(async () => {
      void run.end
      await page.waitForSelector('.need')
      expect(await page.textContent('.prompt')).toContain('Ada')
      await page.click('h1')
      await page.keyboard.press('n')
      expect(await focused(page)).toBe('Approve')
      await page.keyboard.press('Enter')
      return { text: await run.result }
    })
    expect(text).toContain('nothing was sent to Ada')
    await page.waitForSelector('.needs[data-empty=true]')
  })

  test('a run is found, opened and cancelled by keyboard alone, and its receipt is shown', async () => {
    const id = await server.start('endless', 'Go on')
    const page = await open()
    await page.waitForSelector(rowOf(id))
    await page.keyboard.press('/')
    await page.keyboard.type('endless')
    await tabTo(page, id)
    await page.keyboard.press('Enter')
    await page.waitForSelector('.controls')
    expect(new URL(page.url()).searchParams.get('run')).toBe(id)
    await until(page, `document.querySelector('.output .text')?.textContent.startsWith('1 2 3 ')`)
    await page.waitForSelector('button.danger:enabled')
    await tabTo(page, 'Cancel')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.receipt')
    expect(await page.textContent('.receipt')).toMatch(/^Cancelled in \d+ ms.*all work has ended/)
    await page.keyboard.press('Escape')
    await page.waitForSelector('.overview')
  })

  test('the output of a run that is cancelled from the page has all that its log has', async () => {
    await using proxy = await TcpProxy.to(Number(new URL(server.serve.url).port))
    // Some of the text is always on its way to the page when the page cancels.
    proxy.plan = () => ({ delayMs: 200 })
    const id = await server.start('endless', 'Go on')
    const page = await visit(`${proxy.url.replace('ws:', 'http:')}/?run=${id}#token=ann`)
    const output = `document.querySelector('.output .text')?.textContent`
    await until(page, `${output}?.startsWith('1 2 3 ')`)
    await page.waitForSelector('button.danger:enabled')
    await page.click('button.danger')
    await page.waitForSelector('.receipt')
    let logged = ''
    try {
      for await (const text of server.client.attach('endless', id, { after: 'start', policy: 'log' }).text())
        logged += text
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'cancelled' })
    }
    expect(logged).toMatch(/^1 2 3 /)
    await expect.poll(() => page.evaluate(output), { timeout: PATIENCE_MS }).toBe(logged)
  })

  test('a run is cancelled without its children, which go on and are cancelled by themselves', async () => {
    const id = await server.start('team', null)
    const page = await open(`?run=${id}`)
    await page.uncheck('.controls .check input')
    await page.click('button.danger:enabled')
    await page.waitForSelector('.receipt:has-text("Goes on")')
    expect(await page.textContent('.receipt')).toContain('1 child')
    const child = (await server.client.runs()).find(({ actor, state }) => actor === 'worker' && state === 'running')
    await page.click(rowOf(child!.id))
    await page.waitForSelector('.run h2:text-is("worker")')
    const length = `document.querySelector('.output .text')?.textContent.length`
    await until(page, `${length} > 0`)
    const before = await page.evaluate<number>(length)
    await until(page, `${length} > ${before}`)
    // It has none of its own.
    expect(await page.locator('.controls .check').count()).toBe(0)
    await page.click('button.danger:enabled')
    await page.waitForSelector('.receipt')
    expect(await page.textContent('.receipt')).toMatch(/^Cancelled in .*all work has ended/)
  })

  test('a person whose token expires while a run is stopping is told so, and sees its end once signed in again', async () => {
    await using proxy = await TcpProxy.to(Number(new URL(server.serve.url).port))
    const id = await server.start('stubborn', null)
    const page = await visit(`${proxy.url.replace('ws:', 'http:')}/?run=${id}#token=brief`)
    await page.click('button.danger:enabled')
    await page.waitForSelector('.run .state[data-state=stopping]')
    await server.client.start('expire', null).result
    for (const connection of proxy.connections) connection.cut()
    await page.waitForSelector('.sign-in [role=alert]:has-text("has expired")')
    expect(await page.textContent('.sign-in h1')).toBe('The token was refused')
    await page.fill('.sign-in input', 'ann')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.run h2:text-is("stubborn")')
    await server.client.start('release', null).result
    await page.waitForSelector('.receipt')
    expect(await page.textContent('.receipt')).toContain('Cancelled in')
    await page.waitForSelector('.run .state[data-state=cancelled]')
    expect(await page.locator('.sign-in').count()).toBe(0)
    forgetRefusals()
  })

  test('the slider slows a producer down, and its graph shows it', async () => {
    const id = await server.start('endless', 'Go on')
    const page = await open(`?run=${id}`)
    const rate = `Number.parseFloat(document.querySelector('.run .plot b').textContent)`
    await until(page, `${rate} > 20`)
    await page.waitForSelector('.throttle input:enabled')
    await page.focus('.throttle input')
    await page.keyboard.press('Home')
    expect(await page.textContent('.throttle output')).toBe('1/s')
    await until(page, `${rate} < 3`)
    await page.keyboard.press('End')
    await until(page, `${rate} > 20`)
    await page.click('button.danger')
    await page.waitForSelector('.receipt')
  })

  if (isThorough)
    test('a run is paused, and goes on when it is resumed', async () => {
      const id = await server.start('article', 'Rivers')
      const page = await open(`?run=${id}`)
      await page.waitForSelector('button[aria-pressed=false]:enabled')
      await page.click('button[aria-pressed]')
      await page.waitForSelector('button[aria-pressed=true]')
      await page.click('button[aria-pressed]')
      await page.waitForSelector('button[aria-pressed=false]')
      await page.click('.run .need button:has-text("Yes")')
      await page.waitForSelector('.run .state[data-state=done]')
      await page.click('[role=tab]:has-text("Graph")')
      expect(await page.locator('.box .state').allTextContents()).toEqual(['done', 'done', 'done'])
    })

  test('text of a model is text, whatever is in it', async () => {
    const id = await server.start(
      'chat',
      '<img src=x onerror="globalThis.broken = 1"><script>globalThis.broken = 1</script>',
    )
    const page = await open(`?run=${id}`)
    await until(page, `document.querySelector('.output .text')?.textContent.includes('<img src=x')`)
    expect(await page.locator('.run img, .run script').count()).toBe(0)
    expect(await page.evaluate('globalThis.broken')).toBeUndefined()
  })

  if (isThorough)
    test('a reload shows the same run, filter and tab', async () => {
      const id = await server.start('count', { to: 3 })
      const page = await open()
      await page.fill('#filter', 'count')
      await page.selectOption('[aria-label=State]', 'done')
      await page.click(rowOf(id))
      await page.click('[role=tab]:has-text("Timeline")')
      await page.waitForSelector('.lanes')
      await page.reload()
      await page.waitForSelector('.lanes')
      expect(await page.inputValue('#filter')).toBe('count')
      expect(await page.inputValue('[aria-label=State]')).toBe('done')
      expect(await page.textContent('.run h2')).toBe('count')
    })

  if (isThorough)
    test('a run is shown as it was at any moment of its log', async () => {
      const id = await server.start('count', { to: 60, delayMs: 5 })
      const page = await open(`?run=${id}&tab=timeline`)
      await page.waitForSelector('.run .state[data-state=done]')
      await until(page, `document.querySelector('.timeline .text')?.textContent.endsWith('60 ')`)
      await page.focus('.scrubber')
      await page.keyboard.press('Home')
      await until(page, `document.querySelector('.timeline .text')?.textContent.length < 60`)
      await page.click('[aria-label=Replay]')
      await until(page, `document.querySelector('.timeline .text')?.textContent.endsWith('60 ')`)
    })

  if (isThorough)
    test('conversations are listed, searched and read', async () => {
      const { conversation } = await import('../../client-sdk/conversation.ts')
      const talk = conversation(server.client, 'trip', { actor: 'talk' })
      await talk.send('Which museums are open on Monday?')
      const page = await open('?view=conversations')
      await page.waitForSelector('.entries .row')
      await page.fill('#filter', 'museums')
      await page.waitForSelector('.row-found:has-text("museums")')
      await page.click('.entries .row')
      await page.waitForSelector('.message[data-role=user]')
      expect(await page.textContent('.message[data-role=user]')).toBe('Which museums are open on Monday?')
      talk.close()
    })

  if (isThorough)
    test('a run is interrupted by a message, and ends when its budget is used up', async () => {
      const id = await server.start('endless', 'Go on')
      const page = await open(`?run=${id}`)
      await page.waitForSelector('.steer input:enabled')
      await until(page, `document.querySelector('.output .text')?.textContent.length > 20`)
      await page.fill('.steer input', 'Begin again')
      await page.click('button:has-text("Interrupt")')
      await until(page, `document.querySelectorAll('.output .text').length === 2`)
      await page.click('.budget summary')
      await page.fill('.budget input[name=tokens]', '1')
      await page.keyboard.press('Enter')
      await page.waitForSelector('.notice:has-text("budget exceeded")')
    })

  if (isThorough)
    test('a hidden page tells by the system what a run asks, once', async () => {
      const page = await context.newPage()
      await page.addInitScript(`
        globalThis.notices = []
        Object.defineProperty(document, 'hidden', { get: () => true })
        globalThis.Notification = class {
          static permission = 'granted'
          constructor(title, { body }) { notices.push([title, body]) }
        }`)
      await page.goto(`${server.pageUrl}#token=ann`)
      await page.waitForSelector('.totals b')
      await server.start('assistant', 'Send a mail to Grace')
      await until(page, `notices.some(([title, body]) => title === 'assistant needs you' && body.includes('Grace'))`)
      await page.waitForSelector('.need:has-text("Grace")')
      expect(await page.evaluate(`notices.filter(([, body]) => body.includes('Grace')).length`)).toBe(1)
    })

  test('an observer sees the runs of others, and controls are disabled with the reason', async () => {
    const id = await server.start('endless', 'Go on')
    const page = await open(`?run=${id}`, 'eve')
    await page.waitForSelector('.controls p')
    expect(await page.textContent('.controls p')).toBe('You may only look: this run belongs to ann.')
    expect(await page.locator('.controls button:enabled, .controls input:enabled').count()).toBe(0)
    await until(page, `document.querySelector('.output .text')?.textContent.length > 20`)
  })

  test('says that the connection is lost, and comes back by itself', async () => {
    await using proxy = await TcpProxy.to(Number(new URL(server.serve.url).port))
    const id = await server.start('endless', 'Go on')
    const page = await visit(`${proxy.url.replace('ws:', 'http:')}/?run=${id}#token=ann`)
    const length = `document.querySelector('.output .text')?.textContent.length`
    await until(page, `${length} > 20`)
    proxy.plan = () => ({ bytesUp: 0 })
    for (const connection of proxy.connections) connection.cut()
    await page.waitForSelector('.connection p:has-text("Connection lost")')
    const before = await page.evaluate<number>(length)
    proxy.plan = () => ({})
    await page.waitForSelector('.connection p', { state: 'detached' })
    await until(page, `${length} > ${before}`)
    forgetRefusals()
  })

  if (isThorough)
    test('a page whose server has begun anew shows the runs of the new one', async () => {
      const token = ['--token', 'mine']
      await using first = await serving(token)
      const { port } = new URL(first.url)
      const page = await visit(`http://127.0.0.1:${port}/#token=mine`)
      await page.waitForSelector('.totals b')
      first.server.kill('SIGKILL')
      await page.waitForSelector('.connection p')
      await using second = await serving(['--port', port, ...token])
      const client = createClient(second.url, { token: 'mine' })
      const { id } = await client.start('count', { to: 1_000, delayMs: 100 }).opened
      await page.waitForSelector(rowOf(id), { timeout: 30_000 })
      await client.close()
      await page.close()
      forgetRefusals()
    })

  test('policy: a page that is frozen slows none of the runs it shows, and shows their ends when it goes on', async () => {
    const counts = new Map<string, number>()
    const runs = Array.from({ length: 4 }, () => server.client.start('endless', 'Go on'))
    const ids = await Promise.all(runs.map(async (run) => (await run.opened).id))
    const read = runs.map(async (run, n) => {
      for await (const _ of run.text()) counts.set(ids[n]!, (counts.get(ids[n]!) ?? 0) + 1)
    })
    const page = await open('?q=endless')
    for (const id of ids) await page.waitForSelector(`${rowOf(id)} .row-words:has-text("1")`)
    const devtools = await context.newCDPSession(page)
    await devtools.send('Debugger.enable')
    const paused = new Promise((resolve) => devtools.once('Debugger.paused', resolve))
    await devtools.send('Debugger.pause')
    await paused
    const before = new Map(counts)
    // Far more than a reader is given that can hold its run back.
    const beyond = ids.map((id) => expect.poll(() => counts.get(id)! - before.get(id)!).toBeGreaterThan(200))
    await Promise.all(beyond)
    for (const run of runs) expect(await run.cancel()).toMatchObject({ confirmed: true })
    await Promise.allSettled(read)
    await devtools.send('Debugger.resume')
    for (const id of ids) await page.waitForSelector(`${rowOf(id)} [data-state=cancelled]`)
  })

  test('has no serious findings of axe, in light, in dark and on a phone', async () => {
    const id = await server.start('endless', 'Go on')
    await server.start('article', 'Lakes')
    const page = await open(`?run=${id}`)
    await page.waitForSelector('.need')
    await page.waitForSelector('.throttle input:enabled')
    for (const colorScheme of isThorough ? (['dark', 'light'] as const) : (['dark'] as const)) {
      await page.emulateMedia({ colorScheme })
      await expectAccessible(page)
    }
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 390, height: 800 })
    await expectAccessible(page)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
    const rights = `[...document.querySelectorAll('.steer :is(button, input)')].map((one) => one.getBoundingClientRect().right)`
    expect(Math.max(...(await page.evaluate<number[]>(rights)))).toBeLessThanOrEqual(390 - 16)
    await page.goto(server.pageUrl)
    await page.waitForSelector('.need')
    await expectAccessible(page)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
  })
})
