import { describe, expect, test } from 'vitest'
import type {
  AttachOptions,
  Client,
  InspectedReader,
  InspectedRun,
  Run,
  RunEnd,
  StreamEvent,
} from '../../client-sdk/index.ts'
import type { FleetRun } from '../../dashboard/state/fleet.ts'
import { Latencies } from '../../dashboard/state/latencies.ts'
import { MAX_PREVIEWS, Previews } from '../../dashboard/state/previews.ts'
import { eventually } from '../helpers/server.ts'

const other: InspectedReader = { policy: 'pace', own: true, credit: 10, lag: 0 }

function fleetRun(
  id: string,
  readers: readonly InspectedReader[] = [other],
  changes: Partial<FleetRun> = {},
): FleetRun {
  const live: InspectedRun = {
    ...{
      id,
      actor: 'chat',
      principal: 'ann',
      sessions: [],
      state: 'running',
      gated: false,
      detached: readers.length === 0,
    },
    ...{ startedAt: 1_000, readerCount: readers.length, readers, items: 0, itemsPerSec: 0, bytesPerSec: 0 },
  }
  return {
    ...{
      id,
      actor: 'chat',
      principal: 'ann',
      parent: undefined,
      state: 'running',
      outcome: undefined,
      startedAt: 1_000,
    },
    ...{ isOwn: true, live, items: 0 },
    ...changes,
  }
}

/** A client whose runs say what the test gives them. */
function fakeClient(events: readonly StreamEvent[] = [], end?: Partial<RunEnd>) {
  const attached = new Map<string, AttachOptions>()
  let most = 0
  const attach = (
    _: string,
    id: string,
    options: AttachOptions,
  ): Pick<Run, 'detach' | 'end'> & AsyncIterable<StreamEvent> => {
    attached.set(id, options)
    most = Math.max(most, attached.size)
    let leave = (): void => {}
    const left = new Promise<void>((resolve) => (leave = resolve))
    return {
      async *[Symbol.asyncIterator]() {
        yield* events
        if (!end) await left
      },
      detach: () => {
        attached.delete(id)
        leave()
      },
      end: Promise.resolve(end as RunEnd),
    }
  }
  return { client: { attach } as unknown as Client, attached, most: () => most }
}

const token = (text: string, at: number): StreamEvent => ({ type: 'token', text, seq: 1, at })

describe('the previews of a list', () => {
  test('read the runs in view, at most 48, merged and with little credit, and leave those that are not', () => {
    const { client, attached, most } = fakeClient()
    const previews = new Previews(client, new Latencies(), async () => {})
    const runs = Array.from({ length: 300 }, (_, n) => fleetRun(`r${n}`))
    previews.show(runs)
    expect(attached.size).toBe(MAX_PREVIEWS)
    for (const options of attached.values()) expect(options).toMatchObject({ policy: 'merge', credit: 16 })
    previews.show(runs.slice(290))
    expect([...attached.keys()]).toEqual(runs.slice(290).map(({ id }) => id))
    previews.close()
    expect(attached.size).toBe(0)
    expect(most()).toBe(MAX_PREVIEWS)
  })

  test('do not make a run attended that no other client of its principal reads', () => {
    const { client, attached } = fakeClient()
    const previews = new Previews(client, new Latencies(), async () => {})
    const mine: InspectedReader = { policy: 'merge', own: true, credit: 16, lag: 0 }
    previews.show([fleetRun('alone', [])])
    expect([...attached.keys()]).toEqual([])
    previews.show([fleetRun('read', [other])])
    expect([...attached.keys()]).toEqual(['read'])
    // Its other reader has left, and only this page is there.
    previews.show([fleetRun('read', [mine])])
    expect([...attached.keys()]).toEqual([])
    previews.show([fleetRun('foreign', [], { isOwn: false }), fleetRun('child', [], { parent: 'r0' })])
    expect([...attached.keys()]).toEqual(['foreign', 'child'])
  })

  test("go on with a run of one's own before the list tells of this reader, and beside other pages", () => {
    const { client, attached } = fakeClient()
    const previews = new Previews(client, new Latencies(), async () => {})
    const page: InspectedReader = { policy: 'merge', own: true, credit: 16, lag: 0 }
    for (const readers of [[other], [other], [other, page], [other, page, page]]) {
      previews.show([fleetRun('read', readers)])
      expect([...attached.keys()]).toEqual(['read'])
    }
    previews.show([fleetRun('read', [page, page])])
    expect([...attached.keys()]).toEqual([])
  })

  test('keep the last words, and take one piece a frame', async () => {
    const frames: (() => void)[] = []
    const { client } = fakeClient([token('a'.repeat(300), 1_250), token(' end', 1_300)])
    const previews = new Previews(client, new Latencies(), () => new Promise<void>((drawn) => frames.push(drawn)))
    previews.show([fleetRun('r1')])
    const text = previews.textOf('r1')
    await eventually(() => frames.length === 1, 'the first piece is shown')
    expect(text.get()).toBe('a'.repeat(200))
    frames.shift()!()
    await eventually(() => frames.length === 1, 'the second piece is shown')
    expect(text.get()).toBe(`${'a'.repeat(196)} end`)
  })

  test('measure the first text of a run that they see begin, and how long its cancel took', async () => {
    const latencies = new Latencies()
    const { client } = fakeClient([token('a', 1_250)], { receipt: { ms: 12 } as never })
    const previews = new Previews(client, latencies, async () => {})
    previews.show([fleetRun('r1'), fleetRun('old', [other], { items: 1_000 })])
    await eventually(() => latencies.cancel.last !== undefined, 'the cancel was measured')
    const now = Date.now()
    expect(latencies.firstText.points(now)[1]).toEqual([250])
    expect(latencies.cancel.points(now)[1]).toEqual([12, 12])
  })
})
