/** A client in a process of its own, which can be frozen: it reads one run and says how far it is. */
import { createClient } from '../../client-sdk/node.ts'
import { asChild, Child } from './child-process.ts'
import type { ServedActors } from './served-actors.ts'

export type ClientSettings = { url: string; tokens: number; bytes?: number; credit?: number; reportAt: number }

export type ClientReport =
  /** It has read so many items. */
  | { type: 'read'; items: number }
  /** It has read all. `disorder`: how often an item did not follow the one before. */
  | { type: 'end'; items: number; disorder: number; characters: number; outcome: string }

export type ClientProcess = Child<ClientReport, never>

/** A client with the token `alice` that reads a `flood` of `tokens`, and reports when it has read `reportAt`. */
export function clientProcess(settings: ClientSettings): ClientProcess {
  return new Child('client-process.ts', settings)
}

if (process.argv[1] === import.meta.filename) {
  const { options, report } = asChild(() => {})
  const { url, reportAt, credit, ...flood } = options as ClientSettings
  const client = createClient<ServedActors>(url, { token: 'alice' })
  const run = client.start('flood', flood, credit === undefined ? {} : { credit })
  let items = 0
  let disorder = 0
  let characters = 0
  for await (const event of run) {
    if (event.seq !== ++items) disorder++
    if (event.type === 'token') characters += event.text.length
    if (items === reportAt) report({ type: 'read', items } as ClientReport)
  }
  const { outcome } = await run.end
  report({ type: 'end', items, disorder, characters, outcome } as ClientReport)
  await client.close()
}
