/** What `test/e2e/react.test.ts` runs inside of its pages. It is bundled, and knows no Node. */
import { createElement, type ReactNode, StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { type AnyData, createClient } from '../../client-sdk/index.ts'
import {
  type RunList,
  type ShownConversation,
  type ShownRun,
  type UseRunOptions,
  useConnection,
  useConversation,
  useRun,
  useRuns,
} from '../../react/index.ts'

/** What a page was told by its address. */
export type PageSettings = { url: string; actor: string; options: UseRunOptions; conversation?: string }

/** What a test finds in a page. */
export type ReactPage = {
  /** What was rendered last. */
  readonly run: ShownRun<AnyData, unknown, unknown>
  readonly list: RunList
  readonly talk: ShownConversation
  readonly status: string
  /** Whether the page may not make code of text. */
  readonly isStrict: boolean
  /** How often it was rendered. */
  readonly renderings: number
  /** Whether the component is there. */
  mount(): void
  unmount(): void
}

const page = globalThis as unknown as {
  location: { hash: string }
  document: { getElementById(id: string): never }
  shown: { -readonly [Name in keyof ReactPage]: ReactPage[Name] }
}
const { url, actor, options, conversation } = JSON.parse(
  decodeURIComponent(page.location.hash.slice(1)),
) as PageSettings
const delays = { quickMs: 5, backoffMs: 5, maxBackoffMs: 20 }
const client = createClient(url, { token: 'alice', delays })
const root = createRoot(page.document.getElementById('root'))

function Shown(): ReactNode {
  const run = useRun(client, actor, options)
  const list = useRuns(client)
  const { status } = useConnection(client)
  Object.assign(page.shown, { run, list, status, renderings: page.shown.renderings + 1 })
  return createElement(
    'main',
    null,
    createElement('pre', { id: 'text' }, run.text),
    createElement('p', { id: 'status' }, run.status),
    createElement('p', { id: 'receipt' }, run.receipt ? `stopped, provider ${run.receipt.provider}` : ''),
    createElement('button', { id: 'stop', onClick: () => void run.stop() }, 'Stop'),
    ...run.requests.map(({ id, call, prompt }) =>
      createElement('button', { key: id, className: 'approve', onClick: () => void run.approve(call!, true) }, prompt),
    ),
  )
}

function isStrict(): boolean {
  try {
    return !Reflect.construct(Function, ['return true'])
  } catch {
    return true
  }
}

function Talk({ id }: { id: string }): ReactNode {
  const talk = useConversation(client, id)
  Object.assign(page.shown, { talk, renderings: page.shown.renderings + 1 })
  return talk.messages.map((message) => createElement('p', { key: message.id, className: 'message' }, message.text))
}

const shown = conversation === undefined ? createElement(Shown) : createElement(Talk, { id: conversation })
page.shown = {
  isStrict: isStrict(),
  renderings: 0,
  mount: () => root.render(createElement(StrictMode, null, shown)),
  unmount: () => root.render(null),
} as typeof page.shown
page.shown.mount()
