import { createElement, type ReactNode, useEffect } from 'react'
import { createClient } from '../../client-sdk/node.ts'
import { type ShownRun, useRun } from '../../react/index.ts'
import { ReactWindow } from '../helpers/react-window.ts'
import { type Ending, type Page, type PageClient, type PageReading, TOKEN } from './page-client.ts'

/** A run as a component shows it, and the end once it shows one. */
type Seen = { now?: ShownRun; over(how: Ending): void }

/**
 * The hook `useRun`, in StrictMode. A page that is loaded again is the same page: it finds its run by the chat. One that
 * takes nothing more is hidden.
 */
export function reactHook(): PageClient {
  function Shown({
    client,
    page,
    seen,
  }: {
    client: ReturnType<typeof createClient>
    page: Page
    seen: Seen
  }): ReactNode {
    const run = useRun(client, page.actor, { follow: { chat: page.chat }, input: 'go' })
    useEffect(() => {
      seen.now = run
      const { status } = run
      if (status === 'done' || status === 'error' || status === 'cancelled') seen.over(status)
    })
    return run.text
  }

  const load = async (page: Page): Promise<PageReading> => {
    const window = ReactWindow.open()
    const client = createClient(page.url, { token: TOKEN })
    const seen: Seen = { over: () => {} }
    const over = new Promise<Ending>((resolve) => {
      seen.over = resolve
    })
    const mounted = window.mount(createElement(Shown, { client, page, seen }))
    return {
      get text() {
        return mounted.text
      },
      over,
      hold: () => window.hide(),
      go: () => window.show(),
      stop: () => void seen.now?.stop(),
      async drop() {
        window.show()
        mounted.unmount()
        await client.close({ runs: 'detach' })
      },
    }
  }

  return {
    name: 'the hooks for React',
    start: load,
    resume: load,
    close: () => ReactWindow.close(),
  }
}
