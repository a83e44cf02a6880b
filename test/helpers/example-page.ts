import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import type { Window } from './browser.ts'
import { Command } from './command.ts'

/** An example that serves a page. Its disposal ends it as a user would, and fails the test if it has complained. */
export interface ExamplePage extends AsyncDisposable {
  /** What its pages wrote to their consoles, apart from notes. */
  readonly said: readonly string[]
  /** Opens the page in a new tab. */
  visit(): Promise<Page>
}

/** @param name the folder of the example. */
export async function examplePage({ context }: Window, name: string): Promise<ExamplePage> {
  const command = new Command(process.execPath, ['--import', 'tsx', `examples/${name}/start.ts`], {
    env: { PORT: '0' },
  })
  const [, url = ''] = await command.said('stdout', /open (\S+)/)
  const said: string[] = []
  return {
    said,
    async visit() {
      const page = await context.newPage()
      page.on('console', (message) => {
        if (!['info', 'debug'].includes(message.type())) said.push(`${message.type()}: ${message.text()}`)
      })
      page.on('pageerror', (error) => void said.push(String(error)))
      await page.goto(url)
      return page
    },
    async [Symbol.asyncDispose]() {
      command.kill('SIGTERM')
      expect(await command.ended).toMatchObject({ code: 0, stderr: '' })
    },
  }
}
