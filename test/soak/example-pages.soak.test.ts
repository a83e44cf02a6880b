/** The pages of the examples whose frameworks take long to start. The others are in `test/e2e/browser-examples.test.ts`. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, openWindow, type Window } from '../helpers/browser.ts'
import { examplePage } from '../helpers/example-page.ts'

describe.skipIf(CHROMIUM === undefined)('the pages of the examples with other frameworks, in a real browser', () => {
  let window: Window

  beforeAll(async () => {
    window = await openWindow(CHROMIUM!)
  }, 60_000)
  afterAll(() => window[Symbol.asyncDispose]())

  test('the page with useChat types, asks for an approval, goes on after a reload, and stops', async () => {
    await using example = await examplePage(window, 'use-chat')
    const page = await example.visit()
    const ask = async (question: string): Promise<void> => {
      await page.fill('input', question)
      await page.press('input', 'Enter')
    }
    await ask('Send a mail to Ada.')
    await page.click('text=Allow')
    await page.waitForSelector('text=That is all I was asked for')
    expect(await page.textContent('main')).toContain('mail {"to":"Ada"} output-available')
    await ask('Tell me about millrace')
    await page.waitForSelector('text=carries these words')
    await page.reload()
    await page.waitForSelector('text=carries these words')
    await page.click('text=Stop')
    await expect.poll(() => page.textContent('[role=status]')).toBe('ready')
    expect(await page.textContent('main')).not.toContain('To talk to a real model')
    expect(example.said).toEqual([])
    await page.close()
  }, 60_000)

  test('the page with the agent of AG-UI shows tools and text, goes on after a reload, and stops', async () => {
    await using example = await examplePage(window, 'ag-ui-page')
    const page = await example.visit()
    await page.fill('input', 'Weather in Oslo and Rome?')
    await page.press('input', 'Enter')
    await page.waitForSelector('text=That is all I was asked for')
    expect(await page.textContent('#messages')).toContain('weather {"city":"Oslo"}')
    await expect.poll(() => page.textContent('#state')).toBe('Done.')
    await page.fill('input', 'Tell me about millrace')
    await page.press('input', 'Enter')
    await page.waitForSelector('text=carries these words')
    await page.reload()
    await page.waitForSelector('text=carries these words')
    await page.click('#stop')
    await expect.poll(() => page.textContent('#state')).toBe('Stopped.')
    expect(example.said).toEqual([])
    await page.close()
  }, 60_000)

  test('the page with Vue types an answer, goes on with it after a reload, and stops it', async () => {
    await using example = await examplePage(window, 'vue-chat')
    const page = await example.visit()
    await page.fill('input', 'Tell me about pages')
    await page.press('input', 'Enter')
    const longer = (than: number) =>
      expect.poll(async () => (await page.textContent('#answer'))?.length, { timeout: 8_000 }).toBeGreaterThan(than)
    await longer(40)
    await page.reload()
    await longer(80)
    expect(await page.textContent('#answer')).toMatch(/Tell me about pages/)
    await page.click('#stop')
    await expect.poll(() => page.textContent('#state')).toBe('Stopped. Provider: closed')
    expect(example.said).toEqual([])
    await page.close()
  }, 60_000)
})
