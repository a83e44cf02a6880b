import { expect, test } from 'vitest'
import type { Policy } from '../../protocol/frames.ts'
import { CountedView, ViewSocket } from '../helpers/counted-view.ts'
import { megabytes } from '../helpers/figures.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counter } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

const WATCHERS = repetitions({ quick: 250, full: 1_000 })
const ITEMS = repetitions({ quick: 3_000, full: 6_000 })
const VIEWS_PER_SOCKET = 10
const STEP = 200
const READ_AHEAD = 32
const LIMITS = {
  readAhead: READ_AHEAD,
  maxCredit: STEP,
  initialCredit: 100,
  retainEvents: 600,
  maxConnections: WATCHERS,
  startsPerSec: 2 * WATCHERS,
  startBurst: 2 * WATCHERS,
}
/** How much server and watchers may grow together, apart from the views of the beginning. */
const MAX_GROWTH_MB = 16
const POLICIES: readonly Policy[] = ['log', 'log', 'log', 'log', 'log', 'log', 'merge', 'merge', 'latest', 'latest']

test(`${WATCHERS} watchers of one run read at their own pace, and the run goes at the pace of its starter`, async () => {
  const numbers = counter()
  await using server = await testServer({ count: numbers }, { limits: LIMITS })
  await using starter = await server.client({ flushMs: 4 })
  starter.start(1, 'count', ITEMS, { credit: 0 })
  const { run } = await starter.next('opened', 1)
  const [produced] = numbers.runs

  const sockets: ViewSocket[] = []
  await using _ = { [Symbol.asyncDispose]: () => Promise.all(sockets.map((one) => one.cut())).then(() => {}) }
  const watch = async (url: string, ...views: CountedView[]): Promise<ViewSocket> => {
    const socket = await ViewSocket.open(url, run, views)
    sockets.push(socket)
    return socket
  }

  const quick: CountedView[] = [new CountedView('pace')]
  await watch(server.url, ...quick)
  while (quick.length < WATCHERS) {
    const views = POLICIES.slice(0, VIEWS_PER_SOCKET).map((policy) => new CountedView(policy))
    quick.push(...views)
    await watch(server.url, ...views)
  }
  const stopped = new CountedView('log')
  const stoppedSocket = await watch(server.url, stopped)
  stoppedSocket.socket.pause()
  await using slowNetwork = await TcpProxy.to(Number(new URL(server.url).port))
  slowNetwork.plan = () => ({ bytesPerSec: 4_096 })
  const slow = new CountedView('log')
  await watch(slowNetwork.url, slow)
  await using stalledNetwork = await TcpProxy.to(Number(new URL(server.url).port))
  const stalled = new CountedView('log')
  await watch(stalledNetwork.url, stalled)
  stalledNetwork.connections[0]!.throttle(1)
  const vanishing = new CountedView('log')
  const vanishingSocket = await watch(server.url, vanishing)

  const all = (): CountedView[] => [...quick, stopped, slow, stalled, vanishing]
  const wrong = (): (string | undefined)[] => all().flatMap(({ wrong }) => (wrong === undefined ? [] : [wrong]))
  const reached = (seq: number): boolean => quick.every(({ next }) => next > seq) || wrong().length > 0

  // The starter reads nothing: the run waits for it, however many others would read on.
  await eventually(() => reached(READ_AHEAD), 'every view has the read-ahead')
  expect(produced!.count).toBe(READ_AHEAD)
  const before = memoryMb()

  let granted = 0
  while (granted < ITEMS) {
    granted += STEP
    starter.send({ kind: 'credit', sid: 1, n: STEP })
    const due = Math.min(ITEMS, granted + READ_AHEAD)
    await eventually(() => reached(due), `every quick view has item ${due}`)
    if (granted === STEP) await vanishingSocket.cut()
    expect(wrong()).toEqual([])
    expect(produced!.count).toBe(due)
  }
  const end = await starter.next('end', 1)
  expect(end).toMatchObject({ outcome: 'done', seq: ITEMS + 1 })
  await eventually(() => quick.every(({ ended }) => ended), 'every quick view has the end')
  expect(memoryMb() - before).toBeLessThan(MAX_GROWTH_MB)

  // Nobody waited for these.
  expect([stopped, stalled, vanishing].filter(({ ended }) => ended)).toEqual([])
  stoppedSocket.socket.resume()
  stalledNetwork.connections[0]!.cut()
  for (const returning of [stalled, vanishing]) {
    returning.leave()
    await watch(server.url, returning)
  }
  await eventually(() => all().every(({ ended }) => ended), 'all are through', 15_000)

  expect(wrong()).toEqual([])
  expect(starter.count(1)).toBe(ITEMS)
  for (const { items, missing, next } of all()) expect([items + missing, next]).toEqual([ITEMS, ITEMS + 1])
  const of = (policy: Policy): CountedView[] => quick.filter((watcher) => watcher.policy === policy)
  for (const { items, merged } of [...of('pace'), ...of('log')]) expect([items, merged]).toEqual([ITEMS, 0])
  for (const { items } of of('merge')) expect(items).toBe(ITEMS)
  expect(of('merge').every(({ merged }) => merged > 0)).toBe(true)
  expect(of('latest').every(({ gaps }) => gaps.every(({ reason }) => reason === 'policy'))).toBe(true)
  expect(of('latest').every(({ items }) => items < ITEMS)).toBe(true)
  // A gap reports what was trimmed meanwhile.
  for (const { gaps } of [stopped, stalled, vanishing]) expect(gaps.map(({ reason }) => reason)).toEqual(['retention'])
}, 120_000)

/** What the process holds after a collection. */
function memoryMb(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return megabytes(heapUsed + external)
}
