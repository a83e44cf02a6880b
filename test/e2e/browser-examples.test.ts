import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, openWindow, type Window } from '../helpers/browser.ts'
import { examplePage } from '../helpers/example-page.ts'

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(CHROMIUM === undefined)('the pages of the examples, in a real browser', () => {
  let window: Window

  beforeAll(async () => {
    window = await openWindow(CHROMIUM!)
  }, 60_000)
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
    await page.click('#stop')
    await expect.poll(() => page.textContent('#state')).toBe('Stopped. Provider: closed')
    expect(example.said).toEqual([])
    await page.close()
  }, 30_000)

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
  }, 60_000)
})
