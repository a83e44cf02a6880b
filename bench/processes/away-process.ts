/** The process of clients of two servers that share a store: what they start at one of them, they read at the other. */
import { type Client, createClient, type Run } from 'millrace/client'
import { machineUs, pass, until } from '../stage/clock.ts'
import { answerCommands } from '../stage/commands.ts'
import type { TokenRequest } from './token-source.ts'

export type AwayProcessOptions = { startsAt: number; readsAt: number }

const { startsAt, readsAt } = JSON.parse(process.argv[2]!) as AwayProcessOptions

/** Both connections of one principal. */
type Pair = { readonly starter: Client; readonly reader: Client }

let pairs: Pair[] = []
const reading = { running: 0, tokens: 0, latenciesUs: [] as number[], fault: undefined as string | undefined }

const commands = {
  connect(count: number): void {
    pairs = Array.from({ length: count }, (_, n) => {
      const to = (port: number): Client => createClient(`ws://127.0.0.1:${port}`, { token: `away-${n}` })
      return { starter: to(startsAt), reader: to(readsAt) }
    })
  },

  /** Begins streams, so many of each principal, and reads them at the other server until they end. */
  async read({ perPair, request }: { perPair: number; request: TokenRequest }): Promise<void> {
    Object.assign(reading, { tokens: 0, latenciesUs: [], fault: undefined })
    const begun = pairs.flatMap((pair, i) =>
      Array.from({ length: perPair }, async (_, n) => {
        const run = await away(pair, { ...request, id: `${request.id}-${i}-${n}` })
        await run.opened
        void readOne(run)
      }),
    )
    await Promise.all(begun)
  },

  /** What tokens took from where they were made, in microseconds, since this was last asked. */
  latencies: (): number[] => reading.latenciesUs.splice(0),

  /** Resolves when all streams have ended, with the number of tokens that came. */
  async finished(): Promise<number> {
    await until(() => reading.running === 0 || reading.fault !== undefined, 30_000, 'the end of all streams')
    if (reading.fault !== undefined) throw new Error(reading.fault)
    return reading.tokens
  },

  /** Cancels one run after the other at the server that does not have it. Gives when, in `machineUs`. */
  async cancels({ count, request }: { count: number; request: TokenRequest }): Promise<{ id: string; at: number }[]> {
    const cancelled: { id: string; at: number }[] = []
    for (let n = 0; n < count; n++) {
      const id = `${request.id}-${n}`
      const run = await away(pairs[0]!, { ...request, id })
      await run[Symbol.asyncIterator]().next()
      await pass(4 + 4 * Math.random())
      cancelled.push({ id, at: machineUs() })
      await run.cancel()
    }
    return cancelled
  },

  /** Begins a run and gives it credit at the other server, but reads nothing of it. */
  async leaveUnread({ request, credit }: { request: TokenRequest; credit: number }): Promise<void> {
    const run = await away(pairs[0]!, request, credit)
    await run.opened
  },
}

/** Begins a run at one server. Gives it as the other one shows it. */
async function away({ starter, reader }: Pair, request: TokenRequest, credit?: number): Promise<Run> {
  const started = starter.start('tokens', request, { onDetach: 'pause', credit: 0 })
  const { id } = await started.opened
  const run = reader.attach('tokens', id, { after: 0, policy: 'pace', ...(credit !== undefined && { credit }) })
  await run.opened
  started.detach()
  return run
}

async function readOne(run: Run): Promise<void> {
  reading.running++
  try {
    for await (const text of run.text()) {
      reading.tokens++
      reading.latenciesUs.push(machineUs() - Number.parseInt(text, 36))
    }
  } catch (error) {
    reading.fault = String(error)
  } finally {
    reading.running--
  }
}

export type AwayCommands = typeof commands

answerCommands(commands)
