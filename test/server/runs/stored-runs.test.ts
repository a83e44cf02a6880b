import { describe, expect, test } from 'vitest'
import { actor, agent, tool } from '../../../server/index.ts'
import { memoryStore } from '../../../server/stores/memory-store.ts'
import type { Append, AppendRefusal, RunStore } from '../../../server/stores/run-store.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { latch } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const counter = actor({
  async *stream(input: unknown, { signal }) {
    const { to, stay = false } = input as { to: number; stay?: boolean }
    for (let i = 1; i <= to; i++) yield `${i},`
    if (stay) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    return { counted: to }
  },
})

/** A store that says of each run it gives out that another process has it. */
function fencing(kept: RunStore, refused: () => void): RunStore {
  const append = async (): Promise<AppendRefusal> => {
    setImmediate(refused)
    return 'fenced'
  }
  return new Proxy(kept, {
    get(target, name) {
      if (name === 'takeOver')
        return async (run: string) => {
          const taken = await target.takeOver(run)
          return typeof taken === 'string'
            ? taken
            : { ...taken, lease: { ...taken.lease, gen: taken.lease.gen, append } }
        }
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

const counted = (to: number): string => Array.from({ length: to }, (_, i) => `${i + 1},`).join('')

describe('a run that is stored', () => {
  test('can be read again after it ended and the server began anew, from any item on', async () => {
    const { begin } = onOneStore({ counter })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'counter', { to: 500 }, { credit: 600 })
      ;({ run } = await client.next('opened'))
      expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 501 })
    }
    await using second = await begin()
    await using client = await second.client()
    client.attach(1, run, 0, { credit: 600 })
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done', seq: 501, data: { result: { counted: 500 } } })
    expect(client.text(1)).toBe(counted(500))
    client.attach(2, run, 490, { gen: 1, credit: 600 })
    await client.next('end', 2)
    expect(client.text(2)).toBe('491,492,493,494,495,496,497,498,499,500,')
    client.attach(3, run, null, { credit: 1 })
    expect(await client.next('end', 3)).toMatchObject({ seq: 501 })
    expect(client.count(3)).toBe(0)
  })

  test('waits for the credit of its reader also while its items are not stored yet', async () => {
    let said = 0
    const flood = actor({
      async *stream() {
        for (;;) yield `${++said},`
      },
    })
    const [asked, answered] = [latch(), latch()]
    const store = memoryStore()
    const begin = store.begin.bind(store)
    store.begin = async (id, run) => {
      const begun = await begin(id, run)
      if ('run' in begun) return begun
      const append = async (what: Append): Promise<AppendRefusal | undefined> => {
        asked.open()
        await answered.opened
        return begun.append(what)
      }
      return { gen: begun.gen, append, release: () => begun.release() }
    }
    const limits = { initialCredit: 40, readAhead: 8 }
    await using served = await testServer({ flood }, { store, durability: 'logged', limits })
    await using client = await served.client()
    client.start(1, 'flood', undefined, { credit: 40 })
    await asked.opened
    await client.settle()
    expect(said).toBe(48)
    expect(client.count(1)).toBe(0)
    answered.open()
    await client.until(() => client.count(1) === 40)
    await client.settle()
    expect(said).toBe(48)
  })

  test('is read page by page, as fast as its reader has credit', async () => {
    const { begin } = onOneStore({ counter })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'counter', { to: 20_000 }, { credit: 256 })
      ;({ run } = await client.next('opened'))
      for (let read = 0; read < 20_000; read = client.count(1)) {
        client.send({ kind: 'credit', sid: 1, n: 256 })
        await client.until(() => client.count(1) > read)
      }
      await client.next('end')
    }
    await using second = await begin()
    await using client = await second.client()
    client.attach(1, run, 0, { credit: 100 })
    await client.until(() => client.count(1) === 100)
    await client.settle()
    expect(client.count(1)).toBe(100)
    for (let read = 100; read < 20_000; read = client.count(1)) {
      client.send({ kind: 'credit', sid: 1, n: 4_096 })
      await client.until(() => client.count(1) > read)
    }
    await client.next('end', 1)
    expect(client.text(1)).toBe(counted(20_000))
  })

  test('is hidden from others as one in memory is', async () => {
    const { begin } = onOneStore({ counter })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'counter', { to: 3 })
      ;({ run } = await client.next('opened'))
      await client.next('end')
    }
    await using second = await begin()
    await using bob = await second.client({ auth: 'bob' })
    bob.attach(1, run, 0)
    bob.attach(2, 'r_nothing', 0)
    const [foreign, missing] = [await bob.next('end', 1), await bob.next('end', 2)]
    expect(foreign).toEqual({ ...missing, sid: 1 })
    expect(foreign).toMatchObject({ outcome: 'error', data: { code: 'not_found' } })
  })

  test.each(['eager', 'logged'] as const)(
    'ends as interrupted, once, when its process dies (%s)',
    async (durability) => {
      const { begin, stored } = onOneStore({ counter })
      let run = ''
      let seen = ''
      {
        await using first = await begin({ durability })
        await using client = await first.client()
        client.start(1, 'counter', { to: 40, stay: true })
        ;({ run } = await client.next('opened'))
        await client.until(() => client.count(1) === 40)
        seen = client.text(1)
        // What was sent eagerly is stored a moment later.
        await stored(run, ({ next }) => next === 41)
        first.kill()
        client.cut()
      }
      for (const _ of ['again', 'and again']) {
        await using next = await begin({ durability })
        await using client = await next.client()
        client.attach(1, run, 0)
        expect(await client.next('end', 1)).toMatchObject({ outcome: 'error', seq: 41, data: { code: 'interrupted' } })
        expect(client.text(1)).toBe(seen)
        next.kill()
      }
    },
  )

  test('is found by its key, also after the server began anew', async () => {
    const { begin } = onOneStore({ counter })
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'counter', { to: 3 }, { key: 'mine' })
      client.start(2, 'counter', { to: 3 }, { key: 'mine' })
      ;({ run } = await client.next('opened', 1))
      expect(await client.next('opened', 2)).toMatchObject({ run, reused: true })
      await client.next('end', 2)
    }
    await using second = await begin()
    await using client = await second.client()
    client.start(1, 'counter', { to: 3 }, { key: 'mine' })
    expect(await client.next('opened', 1)).toMatchObject({ run, reused: true })
    await client.next('end', 1)
    expect(client.text(1)).toBe('1,2,3,')
    client.start(2, 'counter', { to: 4 }, { key: 'mine' })
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'error', data: { code: 'key_conflict' } })
  })

  test('takes the frames in order that came while the store had not answered', async () => {
    const { begin } = onOneStore({ counter })
    await using served = await begin()
    await using client = await served.client()
    client.send(
      { kind: 'start', sid: 1, actor: 'counter', input: { to: 50 }, options: { key: 'k', credit: 1 } },
      { kind: 'credit', sid: 1, n: 9 },
      { kind: 'cancel', sid: 1 },
      { kind: 'start', sid: 2, actor: 'counter', input: { to: 3 }, options: { key: 'j' } },
      { kind: 'detach', sid: 2 },
      { kind: 'attach', sid: 3, run: 'r_nothing', after: 0, options: {} },
    )
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'cancelled' })
    expect(await client.next('end', 3)).toMatchObject({ data: { code: 'not_found' } })
    await client.settle()
    expect(client.count(2)).toBe(0)
  })
})

describe('a run that only waits', () => {
  const wanted = { call: 'p1', name: 'pay', args: { euros: 50 } }

  function paying() {
    const paid: unknown[] = []
    const pay = tool({
      description: 'Pays',
      parameters: { type: 'object' },
      needsApproval: true,
      run: (args) => {
        paid.push(args)
        return 'paid'
      },
    })
    const model = scriptedModel(calls(wanted), says('thanks'))
    return { paid, model, ...onOneStore({ payer: agent({ model, tools: { pay } }) }) }
  }

  test('for an approval waits on after its process died, and the tool runs once when somebody answers', async () => {
    const { begin, paid, model, stored } = paying()
    let run = ''
    let seen = 0
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'payer', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, ({ parked }) => parked !== undefined)
      await client.settle()
      seen = client.count(1)
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, seen, { gen: 1 })
    const { pending } = await back.next('opened', 1)
    expect(pending).toMatchObject([{ kind: 'approve', call: 'p1' }])
    expect(paid).toEqual([])
    await using other = await second.client()
    other.attach(1, run, null)
    other.send({ kind: 'input', sid: 1, mid: 'm', type: 'approve', data: { call: 'p1', ok: true } })
    expect(await other.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(back.text(1)).toBe('thanks')
    expect(paid).toEqual([{ euros: 50 }])
    // The model was asked once for each turn, and the second time with the result.
    expect(model.asked).toHaveLength(2)
    expect(model.asked[1]?.at(-1)).toMatchObject({ role: 'tool', call: 'p1', content: 'paid' })
  })

  test('is left to the next process by an orderly close, and its clients go on reading there', async () => {
    const { begin, paid } = paying()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'payer', 'go')
      ;({ run } = await client.next('opened'))
      await client.until(() => client.items(1).length >= 3)
      await first.server.close({ drainMs: 5_000 })
      expect(await client.closed).toBe(4503)
      expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    await back.next('opened', 1)
    back.send({ kind: 'input', sid: 1, mid: 'm', type: 'approve', data: { call: 'p1', ok: false } })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(paid).toEqual([])
  })

  test('is not ended by its budget in the process that has left it', async () => {
    const stops: unknown[] = []
    const asker = actor({
      async *stream(_: unknown, { request, checkpoint, signal }) {
        signal.addEventListener('abort', () => stops.push(signal.reason))
        checkpoint(() => ({}))
        yield String(await request({ kind: 'text', prompt: 'Which?' }))
      },
    })
    const { begin, stored } = onOneStore({ asker })
    const clock = handClock()
    const first = await begin({ runtime: clock })
    const client = await first.client()
    client.start(1, 'asker', null)
    const { run } = await client.next('opened')
    await stored(run, ({ parked }) => parked !== undefined)
    client.send({ kind: 'input', sid: 1, mid: 'g', type: 'govern', data: { budget: { ms: 60_000 } } })
    expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
    await first.server.close()
    clock.advance(120_000)
    await new Promise<void>((resolve) => clock.nextTurn(resolve))
    await first[Symbol.asyncDispose]()
    expect(stops).toEqual([])
  })

  test('is let go of by a server that at once loses it again, with what had been accepted for it', async () => {
    const { begin, stored, kept } = paying()
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'payer', 'go')
      const { run } = await client.next('opened')
      await stored(run, ({ parked }) => parked !== undefined)
      client.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'make it quick' })
      expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
      first.kill()
      client.cut()
    }
    await kept.close()
    await kept.open()
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', note)
    const refused = latch()
    const store = fencing(kept, refused.open)
    const second = await begin({ store })
    await refused.opened
    await second[Symbol.asyncDispose]()
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  test('keeps what it accepted meanwhile: a message reaches the model in the next process', async () => {
    const { begin, stored, model } = paying()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'payer', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, ({ parked }) => parked !== undefined)
      client.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'make it quick' })
      expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    back.send(
      { kind: 'input', sid: 1, mid: 'm', type: 'message', data: 'make it quick' },
      { kind: 'input', sid: 1, mid: 'a', type: 'approve', data: { call: 'p1', ok: true } },
    )
    expect(await back.next('input_ack')).toMatchObject({ mid: 'm', status: 'duplicate' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(model.asked[1]?.filter(({ role }) => role === 'user').map(({ content }) => content)).toEqual([
      'go',
      'make it quick',
    ])
  })

  test('for the end of a pause waits on after its process died, and takes the messages of both', async () => {
    const { begin, model, stored } = paying()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.send(
        { kind: 'start', sid: 1, actor: 'payer', input: 'go', options: {} },
        { kind: 'input', sid: 1, mid: 'p', type: 'govern', data: { paused: true } },
      )
      ;({ run } = await client.next('opened'))
      await stored(run, ({ parked }) => parked !== undefined)
      client.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message.now', data: 'one' })
      expect(await client.next('input_ack', 1)).toMatchObject({ status: 'accepted' })
      expect(await client.next('input_ack', 1)).toMatchObject({ mid: 'm1', status: 'accepted' })
      first.kill()
      client.cut()
    }
    expect(model.asked).toHaveLength(0)
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    back.send({ kind: 'input', sid: 1, mid: 'm2', type: 'message', data: 'two' })
    await back.settle()
    expect(model.asked).toHaveLength(0)
    back.send({ kind: 'input', sid: 1, mid: 'r', type: 'govern', data: { paused: false } })
    await back.until(() => model.asked.length === 1, 'the model asked')
    expect(model.asked[0]?.map(({ content }) => content)).toEqual(['go', 'one', 'two'])
    const taken = (): unknown[] =>
      back.items(1).filter(({ data }) => (data as { code?: string }).code === 'input_taken')
    await back.until(() => taken().length === 2, 'both reports')
    expect(taken()).toMatchObject([{ data: { input: 'm1', n: 1 } }, { data: { input: 'm2', n: 1 } }])
  })

  test('for the tool of a client waits on after its process died, and that client performs it there', async () => {
    const locate = { name: 'locate', description: 'Where', parameters: { type: 'object' } }
    const model = scriptedModel(calls({ call: 'c1', name: 'locate', args: { precise: true } }), says('there'))
    const { begin, stored } = onOneStore({ guide: agent({ model, clientTools: true }) })
    let run = ''
    let instance: Uint8Array
    {
      await using first = await begin()
      await using client = await first.client()
      instance = client.client
      client.send(
        { kind: 'start', sid: 1, actor: 'guide', input: 'go', options: {} },
        { kind: 'input', sid: 1, mid: 't', type: 'tools', data: { id: 'page', tools: [locate] } },
      )
      ;({ run } = await client.next('opened'))
      await stored(run, ({ parked }) => parked !== undefined)
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client({ client: instance, attempt: 2 })
    back.attach(1, run, null)
    const given = { name: 'client.tool', value: { to: 'page', call: 'c1', name: 'locate', args: { precise: true } } }
    expect(await back.next('event', 1)).toMatchObject({ data: given })
    back.send({ kind: 'input', sid: 1, mid: 'r', type: 'tool.result', data: { call: 'c1', output: 'here' } })
    expect(await back.next('input_ack')).toMatchObject({ status: 'accepted' })
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(model.asked).toHaveLength(2)
    expect(model.asked[1]?.at(-1)).toMatchObject({ role: 'tool', call: 'c1', content: 'here' })
  })

  test('waits on from its checkpoint if it is an actor of the application, and its question keeps its id', async () => {
    const seen: unknown[] = []
    const order = actor({
      async *stream(input: unknown, { checkpoint, restored, request }) {
        seen.push(restored)
        const { item } = (restored ?? { item: String(input) }) as { item: string }
        if (!restored) yield `ordered ${item};`
        checkpoint(() => ({ item }))
        yield `${item} goes to ${String(await request({ kind: 'text', prompt: 'Where to?' }))};`
      },
    })
    const { begin, stored } = onOneStore({ order })
    let run = ''
    let asked: unknown
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'order', 'tea')
      ;({ run } = await client.next('opened'))
      asked = (await client.next('event', 1)).data['request']
      await stored(run, ({ parked }) => parked !== undefined)
      first.kill()
      client.cut()
    }
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    const request = await back.next('event', 1)
    expect(request.data['request']).toBe(asked)
    back.send({ kind: 'input', sid: 1, mid: 'm', type: 'answer', data: { request: asked, value: 'Ada' } })
    await back.next('end', 1)
    expect(back.text(1)).toBe('ordered tea;tea goes to Ada;')
    expect(seen).toEqual([undefined, { item: 'tea' }])
  })

  test('whose checkpoint cannot be stored waits here all the same, and the server reports it once', async () => {
    const order = actor({
      async *stream(_: unknown, { checkpoint, request }) {
        yield* []
        checkpoint(() => ({ callback: () => {} }))
        const first = await request({ kind: 'text', prompt: 'Where to?' })
        return `${String(first)} ${String(await request({ kind: 'text', prompt: 'And when?' }))}`
      },
    })
    await using served = await testServer({ order }, { store: memoryStore() })
    await using client = await served.client()
    client.start(1, 'order', null)
    for (const value of ['home', 'today']) {
      const { data } = await client.next('event', 1)
      await eventually(() => served.errors.length > 0, 'a report')
      client.send({ kind: 'input', sid: 1, mid: value, type: 'answer', data: { request: data['request'], value } })
    }
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done', data: { result: 'home today' } })
    expect(served.errors).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/^a checkpoint .*cannot be stored.*plain data/) }),
    ])
  })

  test('waits beyond the room of its principal too, but a restart ends it, and what goes on makes room', async () => {
    const wait = actor({
      async *stream(_: unknown, { checkpoint, request }) {
        yield* []
        checkpoint(() => 'x'.repeat(6_000))
        return request({ kind: 'text', prompt: 'Well?' })
      },
    })
    const { begin, stored } = onOneStore({ wait })
    const limits = { maxParkedBytes: 10_000 }
    const refused = ({ warnings }: { readonly warnings: readonly object[] }) =>
      warnings.flatMap((fields) => ('run' in fields && 'reason' in fields ? [fields.run] : []))
    const runs: string[] = []
    const starts = async (client: WireClient, sid: number): Promise<string> => {
      client.start(sid, 'wait', null)
      const { run } = await client.next('opened', sid)
      await client.next('event', sid)
      return run
    }
    {
      await using first = await begin({ limits })
      await using client = await first.client()
      runs.push(await starts(client, 1))
      await stored(runs[0]!, ({ parked }) => parked !== undefined)
      runs.push(await starts(client, 2))
      await eventually(() => refused(first).includes(runs[1]), 'the second has no room')
      first.kill()
      client.cut()
    }
    await using second = await begin({ limits })
    await using client = await second.client()
    client.attach(1, runs[1]!, 0)
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'interrupted' } })
    client.attach(2, runs[0]!, 0)
    const { data } = await client.next('event', 2)
    const third = await starts(client, 3)
    await eventually(() => refused(second).includes(third), 'the third has no room')
    client.send({ kind: 'input', sid: 2, mid: 'm', type: 'answer', data: { request: data['request'], value: 'yes' } })
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'done', data: { result: 'yes' } })
    const fourth = await starts(client, 4)
    await stored(fourth, ({ parked }) => parked !== undefined)
    // It may be said again for the same run, and is said of no other.
    expect([...new Set(refused(second))]).toEqual([third])
  })

  test('that cannot go on ends as interrupted, and does not keep the server from starting', async () => {
    const { begin, stored, kept } = paying()
    let run = ''
    {
      await using first = await begin()
      await using client = await first.client()
      client.start(1, 'payer', 'go')
      ;({ run } = await client.next('opened'))
      await stored(run, ({ parked }) => parked !== undefined)
      first.kill()
      client.cut()
    }
    // As another release would have written it.
    await kept.open()
    const taken = await kept.takeOver(run)
    if (typeof taken === 'string') expect.unreachable(taken)
    await taken.lease.append({ parked: Uint8Array.of(0x80) })
    await using second = await begin()
    await using back = await second.client()
    back.attach(1, run, 0)
    expect(await back.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'interrupted' } })
  })
})
