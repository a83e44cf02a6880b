/** A program that looks at no result of runs that fail in every way. It must come to its end, and not die of one. */

import { createClient, type Run } from '../../client-sdk/node.ts'
import type { AnyData } from '../../protocol/events.ts'
import { actor, bearer, createServer } from '../../server/index.ts'

const silence = actor({
  async *stream(_: unknown, { signal }) {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    yield* [] as string[]
  },
})
const failing = actor({
  async *stream(): AsyncGenerator<string> {
    yield 'a word'
    throw new Error('on purpose')
  },
})
const actors = { silence, failing }
/** Only its death may be heard. */
const logger = { debug() {}, info() {}, warn() {}, error() {} }
const options = { actors, logger, authenticate: bearer({ secret: 'me' }), onError: () => {}, limits: { resumeMs: 50 } }

/** Makes every promise of a run and looks at none. */
function ignore<Data extends AnyData, Result>(run: Run<Data, Result>): void {
  for (const made of [run.result, run.usage, run.end, run.opened, run.send('message', 'hello?')]) void made
}

const server = createServer(options)
const { port, url } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'secret' })
ignore(client.start('failing', null))
ignore(client.start('nobody' as 'failing', null))
ignore(client.attach('failing', 'r_unknown'))
const cancelled = client.start('silence', null)
ignore(cancelled)
await cancelled.opened
await cancelled.cancel()
const left = client.start('silence', null)
ignore(left)
await left.opened
left.detach()
const stranded = client.start('silence', null)
ignore(stranded)
await stranded.opened
await server.close({ drainMs: 0 })
await stranded.end.catch(() => {})

const refused = createClient<typeof actors>(`ws://127.0.0.1:${port}`, { token: 'secret', connectMs: 50 })
const unheard = refused.start('failing', null)
ignore(unheard)
await unheard.result.catch(() => {})
// A rejection that nobody catches is found when the turn it came in is over.
await new Promise((resolve) => setTimeout(resolve, 20))
await Promise.all([client.close(), refused.close()])
process.disconnect?.()
