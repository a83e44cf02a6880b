import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient, type StreamEvent } from '../../../client-sdk/node.ts'
import { actor, agent, type ChildRun, type MillraceError, type RunEvent } from '../../../server/index.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { allSettled, codeOf, finished, servedParent } from '../../helpers/parent-run.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter, latch, silent } from '../../helpers/test-actors.ts'

/** Whose an event is: of the parent, or of the child it names. */
const whose = (event: StreamEvent): string => ('agent' in event && event.agent !== undefined ? 'child' : 'parent')

describe('a child run', () => {
  test('is passed on as it speaks, and each event names the child', async () => {
    const writer = actor({
      async *stream(topic: unknown) {
        yield 'about '
        yield { type: 'thinking', text: 'hm' }
        yield { type: 'progress', current: 1 }
        yield String(topic)
        return { words: 2 }
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield 'I ask. '
      const answer = yield* spawn(writer, 'mills', { name: 'writer' })
      yield ` ${JSON.stringify(answer)}`
    })
    const { over, events, run } = await finished(served.start())
    expect(over).toBeUndefined()
    const [, start] = events as { agent: string }[]
    const id = start!.agent
    expect(events).toEqual([
      { type: 'token', text: 'I ask. ' },
      { type: 'agent.start', agent: id, name: 'writer', run: id },
      { type: 'token', agent: id, text: 'about ' },
      { type: 'thinking', agent: id, text: 'hm' },
      { type: 'progress', agent: id, current: 1 },
      { type: 'token', agent: id, text: 'mills' },
      { type: 'agent.end', agent: id, outcome: 'ok' },
      { type: 'token', text: ' {"words":2}' },
    ])
    expect(await run.result).toBe('I ask.  {"words":2}')
    await allSettled(served)
  })

  test('is reported where only its result is read, and answers with its text', async () => {
    const { runs, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn }) {
      yield `it said ${String(await spawn(numbers, 3).result)}`
    })
    const { events, run } = await finished(served.start())
    expect(events.map((event) => (event as StreamEvent).type)).toEqual(['agent.start', 'agent.end', 'token'])
    expect(await run.result).toBe('it said 1 2 3 ')
    expect(runs[0]!.count).toBe(3)
  })

  test('is a run of its own, to which its principal may attach, also afterwards', async () => {
    const release = latch()
    const slow = actor({
      async *stream() {
        yield 'one '
        await release.opened
        yield 'two'
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(slow, undefined)
    })
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    await watched.first('token')
    const view = new Watched(served.client.attach('slow', id!))
    await view.first('token')
    release.open()
    await Promise.all([watched.over, view.over])
    expect([watched.text, view.text]).toEqual(['one two', 'one two'])
    expect(view.events.map(whose)).toEqual(['parent', 'parent'])
    expect(await served.client.attach('slow', id!).result).toBe('one two')

    const other = createClient(served.url, { token: 'bob' })
    await expect(other.attach('slow', id!).result).rejects.toMatchObject({ code: 'not_found' })
    await other.close()
  })

  test('has the name under which its actor is registered', async () => {
    const helper = actor({ ask: () => 'helped' })
    const boss = actor({
      async *stream(_, { spawn }) {
        yield* spawn(helper, undefined)
      },
    })
    await using served = await testServer({ boss, helper })
    const client = createClient(served.url, { token: 'alice' })
    const { events } = await finished(new Watched(client.start('boss', undefined)))
    expect(events[0]).toMatchObject({ type: 'agent.start', name: 'helper' })
    await client.close()
  })

  test('goes no faster than the reader of the run it belongs to', async () => {
    const { runs, ...numbers } = counter()
    await using served = await servedParent(
      async function* ({ spawn }) {
        yield* spawn(numbers, 100_000)
      },
      { limits: { readAhead: 8 } },
    )
    const run = served.client.start('parent', undefined, { credit: 20 })
    const events = run[Symbol.asyncIterator]()
    await events.next()
    let before = -1
    while (before !== runs[0]?.count) {
      before = runs[0]?.count ?? -1
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // What the run was sent and read ahead, and what the child is ahead of it: its own credit of one, and as much again.
    expect(before).toBeLessThanOrEqual(20 + 8 + 1 + 8 + 2)
    await run.cancel()
    await allSettled(served)
  })

  test('that fails throws its error where it is read, and the run may go on', async () => {
    const broken = actor({
      async *stream() {
        yield 'so far '
        throw new Error('secret')
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      try {
        yield* spawn(broken, undefined)
      } catch (error) {
        yield `and then ${codeOf(error)}`
      }
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('so far and then actor_failed')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'error' }])
  })

  test('that fails unread kills neither the run nor the process', async () => {
    const broken = actor({ ask: () => Promise.reject(new Error('secret')) })
    await using served = await servedParent(async function* ({ spawn }) {
      const child = spawn(broken, undefined)
      void child.result
      await eventually(() => served.errors.length > 0, 'the child fails')
      yield 'done'
    })
    expect((await finished(served.start())).over).toBeUndefined()
  })

  test('whose events are requested and never awaited kills neither', async () => {
    const waits = silent()
    const broken = actor({ ask: () => Promise.reject(new Error('secret')) })
    await using served = await servedParent(async function* ({ spawn }) {
      for (const child of [spawn(waits, undefined), spawn(broken, undefined)]) void child[Symbol.asyncIterator]().next()
      await eventually(() => served.errors.length > 0, 'one fails')
      yield 'done'
    })
    expect((await finished(served.start())).over).toBeUndefined()
    await allSettled(served)
  })

  test('with an input that its schema refuses is refused where it is spawned', async () => {
    const typed = actor({ input: z.object({ n: z.number() }), ask: ({ n }) => n })
    await using served = await servedParent(async function* ({ spawn }) {
      try {
        spawn(typed, { n: 'one' } as never)
      } catch (error) {
        yield codeOf(error)
      }
    })
    const { events } = await finished(served.start())
    expect(events).toEqual([{ type: 'token', text: 'invalid_input' }])
  })

  test('counts among the runs of its principal, and gives its slot back', async () => {
    const waits = silent()
    await using served = await servedParent(
      async function* ({ spawn }) {
        const children: ChildRun[] = []
        try {
          for (;;) children.push(spawn(waits, undefined))
        } catch (error) {
          yield `${children.length} ${codeOf(error)}`
        }
      },
      { limits: { maxRuns: 4 } },
    )
    for (let n = 0; n < 3; n++) {
      const watched = served.start()
      await watched.over
      expect(watched.text).toMatch(/^3 (rate_limited|overloaded|too_many)/)
      await allSettled(served)
    }
  })

  test('of a child names its parent, and is reported once', async () => {
    const leaf = actor({ ask: () => 'leaf' })
    const branch = actor({
      async *stream(_, { spawn }) {
        yield 'branch '
        yield* spawn(leaf, undefined, { name: 'leaf' })
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      yield* spawn(branch, undefined, { name: 'branch' })
    })
    const watched = served.start()
    await watched.over
    const [outer, inner] = watched.all('agent.start')
    expect([outer, inner]).toMatchObject([{ name: 'branch' }, { name: 'leaf', parent: outer!.agent }])
    expect(watched.all('agent.end').map(({ agent }) => agent)).toEqual([inner!.agent, outer!.agent])
    expect(watched.all('token').map(({ agent, text }) => [agent, text])).toEqual([
      [outer!.agent, 'branch '],
      [inner!.agent, 'leaf'],
    ])
  })

  test('may follow another any number of times: its lanes are closed when it ends', async () => {
    const writer = actor({
      async *stream(n: unknown) {
        yield { type: 'thinking', text: 'hm' }
        yield `${String(n)} `
      },
    })
    const release = latch()
    await using served = await servedParent(async function* ({ spawn }) {
      for (let n = 1; n <= 500; n++) yield* spawn(writer, n)
      await release.opened
    })
    const watched = served.start()
    await eventually(() => watched.all('agent.end').length === 500, 'all have ended')
    await using wire = await served.peer()
    wire.attach(1, watched.run.id!, null)
    expect((await wire.next('opened')).lanes).toBeUndefined()
    release.open()
    await watched.over
    expect(watched.text).toBe(counted(1, 500))
  })

  test('that has ended before it was read is reported in order, and answers with all its text', async () => {
    const writer = actor({
      async *stream(name: unknown) {
        yield `${String(name)} `
        yield { type: 'usage', input: 10, output: 1 }
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      const children = ['a', 'b', 'c'].map((name) => spawn(writer, name, { name }))
      await eventually(() => served.server.liveRuns === 1, 'the children end')
      yield* children[0]!
      yield* children[1]!
      yield await children[2]!.result
    })
    const { over, events, run } = await finished(served.start())
    expect(over).toBeUndefined()
    const [a, b, c] = (events as { agent: string }[]).map(({ agent }) => agent)
    expect(events.slice(3)).toMatchObject([
      { type: 'token', agent: a, text: 'a ' },
      { type: 'usage', agent: a },
      { type: 'agent.end', agent: a },
      { type: 'token', agent: b, text: 'b ' },
      { type: 'usage', agent: b },
      { type: 'agent.end', agent: b },
      { type: 'agent.end', agent: c },
      { type: 'token', text: 'c ' },
    ])
    expect(await run.usage).toEqual({ input: 30, output: 3 })
  })

  test('that has no items and is not read is reported when it ends', async () => {
    const mute = actor({ ask: () => undefined })
    const release = latch()
    await using served = await servedParent(async function* ({ spawn }) {
      spawn(mute, undefined)
      await release.opened
      yield* []
    })
    const watched = served.start()
    await watched.first('agent.end')
    release.open()
    await watched.over
  })

  test('whose log was given up before it was read says so, and does not answer with less', async () => {
    const { runs: _, ...numbers } = counter()
    const returns = actor({
      async *stream() {
        yield 'text'
        return 'its result'
      },
    })
    await using served = await servedParent(
      async function* ({ spawn }) {
        const unread = [spawn(numbers, 3), spawn(numbers, 3), spawn(returns, undefined)] as const
        await eventually(() => served.server.liveRuns === 1, 'they end')
        for (let n = 0; n < 6; n++) await spawn(numbers, 3).result
        yield String(await unread[0].result.catch(codeOf))
        try {
          yield* unread[1]
        } catch (error) {
          yield ` ${codeOf(error)} `
        }
        yield await unread[2].result
      },
      { limits: { retainPrincipal: 12_000 } },
    )
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('overloaded overloaded its result')
    expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(Array<string>(9).fill('ok'))
  })

  test('that says more than is kept has no text for an answer, and its parent goes on', async () => {
    const pieces = 65
    const novelist = actor({
      async *stream(answer: unknown) {
        for (let n = 0; n < pieces; n++) yield 'x'.repeat(1_048_576)
        return answer === null ? undefined : answer
      },
    })
    const toldOf = ({ code, retryable }: MillraceError): object => ({ code, retryable })
    const { runs: _, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn }) {
      yield (await spawn(novelist, null).result.catch(codeOf)) as string
      yield ` ${(await spawn(novelist, 'its result').result) as string} `
      const read = spawn(novelist, null)
      let characters = 0
      for await (const event of read) if (event.type === 'token') characters += event.text.length
      yield `${characters} ${JSON.stringify(await read.result.catch(toldOf))}`
      yield String(await spawn(numbers, 3).result)
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toMatch(/^overloaded its result 68157440 {"code":"overloaded","retryable":false}/)
    expect(watched.all('agent.end').map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok', 'ok'])
  })

  test('that is stopped after its last item does not answer with less', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      await eventually(() => served.server.liveRuns === 1, 'it ends')
      expect(await child.cancel()).toBeUndefined()
      yield String(await child.result.catch(codeOf))
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('cancelled')
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'ok' }])
  })

  test('gives its events in order to several calls of next at once', async () => {
    const release = latch()
    const slow = actor({
      async *stream() {
        await release.opened
        yield 'a'
        yield 'b'
        return 'c'
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      const events = spawn(slow, undefined)[Symbol.asyncIterator]()
      const steps = [1, 2, 3, 4].map(() => events.next())
      release.open()
      yield JSON.stringify((await Promise.all(steps)).map(({ value }) => (value as { text?: string })?.text ?? value))
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('["a","b","c",null]')
  })

  test('is reported before its first item, also while items of its parent wait for a slow reader', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn, emit }) {
      for (let n = 1; n <= 300; n++) void emit(`${n} `)
      yield* spawn(numbers, 3)
    })
    const watched = new Watched(served.client.start('parent', undefined, { credit: 1 }))
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe(counted(1, 300) + counted(1, 3))
    expect(watched.events.map(({ type }) => type).slice(300)).toEqual([
      'agent.start',
      ...Array<string>(3).fill('token'),
      'agent.end',
    ])
  })

  test('that is left while a child of it speaks leaves nothing open, any number of times', async () => {
    const { runs: _, ...numbers } = counter()
    const branch = actor({
      async *stream(_, { spawn }) {
        yield* spawn(numbers, 3)
      },
    })
    const release = latch()
    await using served = await servedParent(async function* ({ spawn }) {
      for (let n = 0; n < 100; n++) {
        for await (const event of spawn(branch, undefined)) {
          yield event
          if (event.type === 'token') break
        }
      }
      await release.opened
    })
    const watched = served.start()
    await Promise.race([watched.over, eventually(() => watched.all('agent.end').length === 100, 'all have ended')])
    await using wire = await served.peer()
    wire.attach(1, watched.run.id!, null)
    expect((await wire.next('opened')).lanes).toBeUndefined()
    release.open()
    expect(await watched.over).toBeUndefined()
  })

  test.each([
    ['a'.repeat(100_000), `${'a'.repeat(256)}…`],
    ['\ud800', '\ufffd'],
    ['__proto__', '__proto__'],
  ])('may have any name, which is shortened and mended where it is shown', async (name, shown) => {
    const quick = actor({ ask: () => undefined })
    await using served = await servedParent(async function* ({ spawn }) {
      for (let n = 0; n < 2; n++) yield* spawn(quick, undefined, { name })
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('agent.start').map((start) => start.name)).toEqual([shown, shown])
  })

  test('is stopped with any note, which is shortened to what a receipt may hold', async () => {
    await using served = await servedParent(async function* ({ spawn }) {
      const receipt = await spawn(silent(), undefined).cancel(`\ud800${'a'.repeat(100_000)}`)
      yield String(receipt?.note)
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe(`\ufffd${'a'.repeat(83)}…`)
    expect(watched.all('agent.end')).toMatchObject([{ outcome: 'cancelled', receipt: { note: watched.text } }])
  })

  test.each([1, 2])('makes no event that is too large to be passed on, %i times', async (times) => {
    const says = actor({
      async *stream(bytes: unknown) {
        yield { type: 'data', name: 'x', value: new Uint8Array(Number(bytes)) }
      },
    })
    const branch = actor({
      async *stream(bytes: unknown, { spawn }) {
        yield* spawn(says, bytes)
      },
    })
    await using served = await servedParent(async function* ({ spawn }) {
      let bytes = 65_536
      for (; ; bytes--) {
        try {
          for await (const event of spawn(times === 1 ? says : branch, bytes)) yield event
          break
        } catch (error) {
          if (codeOf(error) !== 'bad_event') throw error
        }
      }
      yield String(bytes)
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(Number(watched.text)).toBeGreaterThan(65_300)
    expect(watched.all('data')).toHaveLength(1)
  })

  test('that is stopped after its loop got an event ends behind that event', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      await eventually(() => served.server.liveRuns === 1, 'it ends')
      const step = child[Symbol.asyncIterator]().next()
      const cancelled = child.cancel()
      const { value } = await step
      if (value) yield value as RunEvent
      await cancelled
    })
    const { events } = await finished(served.start())
    expect(events).toMatchObject([{ type: 'agent.start' }, { type: 'token', text: '1 ' }, { type: 'agent.end' }])
  })

  test('costs nothing more when its events are kept, and passed on later', async () => {
    const asks = agent({ model: scriptedModel(says('a')) })
    await using served = await servedParent(async function* ({ spawn }) {
      const kept: RunEvent[] = []
      for await (const event of spawn(asks, 'one')) kept.push(event)
      yield* kept
    })
    const watched = served.start()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('a')
    expect(await watched.run.usage).toEqual({ input: 10, output: 2 })
  })

  test('is forgotten by its parent, and its answer with it, while its log is kept', async () => {
    const { runs: _, ...numbers } = counter()
    const spawned: WeakRef<ChildRun>[] = []
    const release = latch()
    await using served = await servedParent(async function* ({ spawn }) {
      const ask = (): Promise<unknown> => {
        const child = spawn(numbers, 3)
        spawned.push(new WeakRef(child))
        return child.result
      }
      yield String(await ask())
      await release.opened
    })
    const watched = served.start()
    const { run: id } = await watched.first('agent.start')
    await watched.first('token')
    await eventually(() => (globalThis.gc!(), spawned[0]!.deref() === undefined), 'it is forgotten')
    expect(await served.client.attach('numbers', id!).result).toBe(counted(1, 3))
    release.open()
    await watched.over
  })

  test('is read by one reader', async () => {
    const { runs: _, ...numbers } = counter()
    await using served = await servedParent(async function* ({ spawn }) {
      const child = spawn(numbers, 3)
      yield* child
      try {
        child[Symbol.asyncIterator]()
      } catch (error) {
        yield codeOf(error)
      }
    })
    const watched = served.start()
    await watched.over
    expect(watched.text).toBe(`${counted(1, 3)}already_reading`)
  })
})
