import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'millrace/client'
import { actor, anonymous, createServer } from 'millrace/server'

let produced = 0
const actors = {
  numbers: actor({
    async *stream() {
      for (;;) yield `${(produced += 1)} `
    },
  }),
}
const server = createServer({ actors, authenticate: anonymous() })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url)

/** The number produced once the actor waits for its reader. */
async function standstill(): Promise<number> {
  let before: number
  do {
    before = produced
    await sleep(100)
  } while (before !== produced)
  return produced
}

// A loop that stops also stops the actor: at the items read, plus the credit, plus 32 items of `readAhead`.
const run = client.start('numbers', undefined, { credit: 100 })
const numbers = run.text()
for (let n = 0; n < 50; n++) await numbers.next()
console.log('read 50, produced', await standstill())

// The same without stopping the loop: a pause, then at most 100 items a second, then full speed.
run.pause()
run.throttle(100)
run.throttle(null)
for (let n = 50; n < 1_000; n++) await numbers.next()
console.log('read 1000, produced', await standstill())

// A watcher reads at its own speed and does not slow the run.
await run.opened
const view = client.attach('numbers', run.id ?? '', { policy: 'merge' })
const watched = view.text()
const { value: text = '' } = await watched.next()
console.log('a watcher read', text.slice(0, 20))
view.detach()

await run.cancel()
await client.close()
await server.close({ drainMs: 0 })
