import type { RunEvent } from '../../protocol/events.ts'
import { type ActorContext, actor, tool } from '../../server/index.ts'
import { capturedRuns } from './captured-runs.ts'
import { eventually, testServer } from './server.ts'
import { aborted, latch, silent } from './test-actors.ts'
import type { WireClient, WireClientOptions } from './wire-client.ts'

const AN_HOUR = 3_600_000
const STREAMS_OF_A_CONNECTION = 50
/** Thoughts between the words of a long log, for each of its size. */
const THOUGHTS = 10
/** Requests `q1`, `q2`, ... that wait for an answer in one run. */
export const QUESTIONS = 200
const CREDIT = 10_000
const LIMITS = {
  maxCredit: CREDIT,
  retainEvents: 20_000,
  retainBytes: 64 * 1_048_576,
  maxRuns: 10_000,
  maxConnections: 10_000,
  maxSessions: 10_000,
  startsPerSec: 1_000_000,
  startBurst: 1_000_000,
  // Nothing is done but what the test asks for.
  heartbeatMs: AN_HOUR,
  timeoutMs: AN_HOUR,
}

const wait = tool({ description: 'Goes on', timeoutMs: AN_HOUR, run: (_, { signal }) => aborted(signal) })
const result = (call: string): RunEvent => ({ type: 'tool.result', call, outcome: 'ok', ms: 1 })

/** Has a call and a request open, and says more than its parent reads: the result of a call first. */
const child = actor({
  async *stream(n: unknown, { tools, request, emit }: ActorContext) {
    void tools({ wait }).call({ call: `child ${String(n)}`, name: 'wait', args: {} })
    void request({ kind: 'text', call: `asked by child ${String(n)}` })
    await emit(result(`unread ${String(n)}`))
    for (;;) yield { type: 'data', name: 'unread', value: n }
  },
})

/** `size` of all that one run can have open. Then it talks until it is held back. */
function crowded(isGated: Promise<void>) {
  return actor({
    async *stream(size: unknown, { tools, request, spawn, emit }: ActorContext) {
      const bound = tools({ wait })
      for (let n = 0; n < Number(size); n++) {
        void bound.call({ call: `own ${n}`, name: 'wait', args: {} })
        void request({ kind: 'text', call: `asked ${n}` })
        yield { type: 'thinking', agent: `lane ${n}`, text: 'hm' }
        const events = spawn(child, n)[Symbol.asyncIterator]()
        for (let step = await events.next(); !step.done; step = await events.next()) {
          yield step.value
          if (step.value.type === 'request') break
        }
      }
      void isGated.then(() => {
        for (let n = 0; n < Number(size); n++) void emit(result(`waiting ${n}`))
      })
      for (;;) yield 'word '
    },
  })
}

/** Has said much, and thought between the words. */
const history = actor({
  async *stream(size: unknown, { signal }: ActorContext) {
    for (let n = 0; n < Number(size) * THOUGHTS; n++) {
      yield { type: 'thinking', text: 'hm' }
      yield 'word '
    }
    await aborted(signal)
  },
})

/** Talks for as long as it is let. */
const talker = actor({
  async *stream() {
    for (;;) yield 'word '
  },
})

const listener = actor({
  interactive: true,
  async *stream(_: unknown, { signal }: ActorContext) {
    await aborted(signal)
    yield* []
  },
})

/** Asks much, and waits for the answers. */
const asker = actor({
  async *stream(_: unknown, { request, signal }: ActorContext) {
    for (let n = 0; n < QUESTIONS; n++) void request({ kind: 'text' })
    await aborted(signal)
    yield* []
  },
})

/** Has `size` children that ask nothing, and one that asks much. */
const asking = actor({
  async *stream(size: unknown, { spawn, signal }: ActorContext) {
    for (let n = 0; n < Number(size); n++) spawn(listener, null)
    const events = spawn(asker, null)[Symbol.asyncIterator]()
    for (let n = 0; n < QUESTIONS; n++) await events.next()
    yield 'all was asked'
    await aborted(signal)
  },
})

const stubborn = actor({ ask: () => new Promise<never>(() => {}) })

/** A server that keeps much, or little: `size` of everything it can keep. */
export interface CrowdedServer extends AsyncDisposable {
  /** A run of alice that has `size` of everything open, of itself and of children, and is held back by one reader. */
  readonly crowded: string
  readonly size: number
  /** Its last child, and the request of that. */
  readonly agent: string
  readonly request: string
  /** A run of alice that has `size` children, of which one waits for answers to `QUESTIONS` requests. */
  readonly asking: string
  /** A run of alice whose log is long, and that has nothing open. */
  readonly history: string
  /** Connects alice, or another principal. */
  client(auth?: string, options?: WireClientOptions): Promise<WireClient>
  /** Has `size` readers follow a run of alice, who do not hold it back. */
  crowd(run: string): Promise<void>
  /** Cuts those who have connected since the server was made, and waits until they are gone: nothing is said to them then. */
  dismiss(): Promise<void>
}

export async function crowdedServer(size: number): Promise<CrowdedServer> {
  using runs = capturedRuns()
  const gated = latch()
  const served = await testServer(
    {
      crowded: crowded(gated.opened),
      history,
      asking,
      talker,
      listener,
      stubborn,
      silent: silent(),
      brief: actor({ ask: () => 'so' }),
    },
    { limits: LIMITS, authenticate: ({ auth }) => ({ id: String(auth) }) },
  )
  const clients: WireClient[] = []
  const client = async (auth = 'alice', options: WireClientOptions = {}): Promise<WireClient> => {
    const one = await served.client({ auth, ...options })
    clients.push(one)
    return one
  }
  const many = Array.from({ length: size }, (_, n) => n)
  const crowd = async (run: string): Promise<void> => {
    let reader: WireClient | undefined
    for (const n of many) {
      const sid = 1 + (n % STREAMS_OF_A_CONNECTION)
      if (!reader || sid === 1) reader = await client()
      reader.attach(sid, run, null, { policy: 'pace', credit: CREDIT })
      await reader.next('opened', sid)
    }
  }

  const first = await client()
  first.start(1, 'crowded', size, { credit: CREDIT })
  const { run } = await first.next('opened', 1)
  const crowdedRun = runs.runs.find(({ id }) => id === run)
  await first.find((frame) => frame.kind === 'delta' && frame.lane === 0)
  first.start(2, 'history', size, { credit: CREDIT })
  const { run: historyRun } = await first.next('opened', 2)
  // A thought is declared, said and closed.
  await first.until(() => first.count(2) === size * THOUGHTS * 4)

  first.start(3, 'asking', size)
  const { run: asks } = await first.next('opened', 3)
  await first.next('delta', 3)

  await crowd(run)
  const holding = await client()
  holding.attach(1, run, null, { policy: 'pace', credit: 1 })
  await eventually(() => crowdedRun?.gated === true, 'the crowded run is held back')
  gated.open()

  const agents = first.items(1).filter(({ data }) => (data as { run?: string } | undefined)?.run !== undefined)
  const requests = first
    .items(1)
    .filter(({ data }) => (data as { request?: string } | undefined)?.request !== undefined)
  await Promise.all(
    many.map(async (n) => {
      const other = await served.client({ auth: `principal ${n}` })
      other.start(1, 'brief')
      other.start(2, 'silent')
      await other.next('end', 1)
      other.cut()
    }),
  )
  await eventually(() => served.server.connections === clients.length, 'only the crowd is connected')
  const others = clients.length
  return {
    crowded: run,
    size,
    agent: (agents.at(-1)!.data as { run: string }).run,
    request: (requests.at(-1)!.data as { request: string }).request,
    asking: asks,
    history: historyRun,
    client,
    crowd,
    async dismiss() {
      for (const one of clients.splice(others)) one.cut()
      await eventually(() => served.server.connections === others, 'only the crowd is connected')
    },
    async [Symbol.asyncDispose]() {
      for (const one of clients) one.cut()
      await served[Symbol.asyncDispose]()
    },
  }
}
