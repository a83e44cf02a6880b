/** What `test/e2e/shared-connection.test.ts` runs inside of its pages. It is bundled, and knows no Node. */
import { createClient, type Run } from '../../client-sdk/index.ts'
import { sharedWebSocket } from '../../client-sdk/shared-websocket.ts'
import type { ServedActors } from './served-actors.ts'

/** What is used of that of a browser. */
declare class SharedWorker {
  constructor(url: string, options: { type: 'module' })
  readonly port: { postMessage(message: unknown, transfer: never[]): void }
  onerror: unknown
}

/** What a page was told by its address. */
export type SharedPageSettings = { url: string; worker: string }

const page = globalThis as unknown as { location: { hash: string } }
const { url, worker } = JSON.parse(decodeURIComponent(page.location.hash.slice(1))) as SharedPageSettings
const client = createClient<ServedActors>(url, {
  token: 'alice',
  delays: { quickMs: 5, backoffMs: 5, maxBackoffMs: 20 },
  WebSocket: sharedWebSocket(() => new SharedWorker(worker, { type: 'module' }), { user: 'alice' }),
})
let run: Run | undefined
let texts: string[] = []
/** Reading stops while it is set. */
let isHeld = false
let goOn = (): void => {}

const experiments = {
  /** Starts a run, and returns its id. It is read in the background. */
  async start(to: number, delayMs: number, credit: number): Promise<string> {
    const started = client.start('count', { to, delayMs }, { credit })
    run = started
    texts = []
    void (async () => {
      for await (const text of started.text()) {
        texts.push(text)
        if (isHeld)
          await new Promise<void>((resolve) => {
            goOn = resolve
          })
      }
    })()
    return (await started.opened).id
  },

  /** How many texts are here, and whether they follow each other from 1. */
  async read(): Promise<number> {
    return texts.every((text, n) => text === `${n + 1} `) ? texts.length : -1
  },

  async end(): Promise<string> {
    return (await run!.end).outcome
  },

  async hold(): Promise<void> {
    isHeld = true
  },

  async goOn(): Promise<void> {
    isHeld = false
    goOn()
  },

  /** The number of the last item of a run, as the server knows it. */
  async seqOf(id: string): Promise<number> {
    return (await client.runs()).find((listed) => listed.id === id)!.seq
  },
}

export type SharedExperiments = typeof experiments

Object.assign(globalThis, { experiments })
