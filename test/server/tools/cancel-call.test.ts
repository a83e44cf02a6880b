import { describe, expect, test } from 'vitest'
import type { DownFrame } from '../../../protocol/frames.ts'
import { type ActorContext, actor, type ToolContext, type ToolMap, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { latencies, percentile } from '../../helpers/figures.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { TcpProxy } from '../../helpers/tcp-proxy.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
import { repetitions } from '../../helpers/tier.ts'
import { wireClient } from '../../helpers/wire-client.ts'

const CANCELS = repetitions({ quick: 100, full: 1_000 })
/** A figure of a quiet machine is printed; this bound only says that nothing waits for what it should not. */
const GENEROUS_MS = 250

/** A tool that goes on until it is let go, or stopped. `contexts` are those of its calls. */
function waiting(): { tools: ToolMap; contexts: Map<string, ToolContext>; release: () => void } {
  const contexts = new Map<string, ToolContext>()
  const released = latch()
  const wait = tool({
    description: 'Waits',
    async run(_, context) {
      contexts.set(context.call, context)
      await Promise.race([released.opened, aborted(context.signal)])
      context.signal.throwIfAborted()
      return `${context.call} done`
    },
  })
  return { tools: { wait }, contexts, release: released.open }
}

/** Ignores its signal. */
function stubborn(): { tools: ToolMap; release: () => void } {
  const { opened, open } = latch()
  return { tools: { stubborn: tool({ description: 'x', run: () => opened }) }, release: open }
}

const three = ['a', 'b', 'c'].map((call) => ({ call, name: 'wait', args: {} }))

describe('the cancel of one of three parallel calls', () => {
  test('reaches its signal at once, and leaves the others and the answer alone', async () => {
    const model = scriptedModel(calls(...three), says('all done'))
    const { tools, contexts, release } = waiting()
    await using served = await servedAgent({ model, tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')

    const receipt = await watched.run.cancel({ call: 'b', reason: 'policy', note: 'not this one' })

    const expected = { reason: 'policy', by: 'client', note: 'not this one', settled: true, ms: expect.any(Number) }
    expect(receipt).toEqual({ outcome: 'cancelled', confirmed: true, ...expected })
    expect(await watched.first('tool.result')).toMatchObject({ call: 'b', outcome: 'cancelled', receipt: expected })
    expect(['a', 'c'].map((call) => contexts.get(call)!.signal.aborted)).toEqual([false, false])
    expect(contexts.get('b')!.signal.reason).toMatchObject({ code: 'cancelled' })

    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('all done')
    expect(watched.all('tool.result').map(({ call, outcome }) => `${call} ${outcome}`)).toEqual([
      'b cancelled',
      'a ok',
      'c ok',
    ])
    expect(model.asked[1]!.slice(2)).toMatchObject([
      { role: 'tool', call: 'a', content: 'a done' },
      { role: 'tool', call: 'b', content: 'Error: cancelled by the user: not this one' },
      { role: 'tool', call: 'c', content: 'c done' },
    ])
    expect(await watched.run.end).toMatchObject({ outcome: 'done', iterations: 2 })
  })

  test(`reaches its signal, ${CANCELS} times`, async () => {
    const { tools, contexts } = waiting()
    const model = scriptedModel(
      ...Array.from({ length: CANCELS }, (_, n) => calls({ call: `c${n}`, name: 'wait', args: {} })),
      says('enough'),
    )
    await using served = await servedAgent({ model, tools, maxIterations: CANCELS + 1 })
    const watched = new Watched(served.client.start('agent', 'go'))
    const took: number[] = []
    for (let n = 0; n < CANCELS; n++) {
      await eventually(() => contexts.has(`c${n}`), 'the call goes on')
      let at = Number.NaN
      contexts.get(`c${n}`)!.signal.addEventListener('abort', () => (at = performance.now()))
      const sentAt = performance.now()
      expect(await watched.run.cancel({ call: `c${n}` })).toMatchObject({ outcome: 'cancelled', settled: true })
      took.push(at - sentAt)
    }
    console.log(`cancel of one tool call, call to the tool's signal over a socket: ${latencies(took)}`)
    expect(percentile(took, 0.5)).toBeLessThan(GENEROUS_MS)
    expect(await watched.over).toBeUndefined()
  })
})

describe('the cancel of a call', () => {
  test('that is unknown, or that has finished, is answered with NOTICE not_found', async () => {
    const { tools, contexts, release } = waiting()
    const quick = tool({ description: 'x', run: () => 1 })
    const model = scriptedModel(calls({ call: 'quick', name: 'quick', args: {} }, ...three), says('ok'))
    await using served = await servedAgent({ model, tools: { ...tools, quick } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')
    await watched.first('tool.result')
    for (const call of ['quick', 'nobody', '__proto__'])
      expect(await watched.run.cancel({ call })).toEqual({ confirmed: false, code: 'not_found' })
    expect(await watched.run.cancel({ agent: 'a' })).toEqual({ confirmed: false, code: 'not_found' })
    release()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('tool.result').every(({ outcome }) => outcome === 'ok')).toBe(true)
  })

  test('of an id that is too long for any call is not confirmed either, and the run goes on', async () => {
    const { tools, contexts, release } = waiting()
    await using served = await servedAgent({ model: scriptedModel(calls(...three), says('ok')), tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')
    const answers = [1_024, 1_025, 5_000_000].map((length) => watched.run.cancel({ call: 'x'.repeat(length) }))
    expect(await Promise.race([Promise.all(answers), watched.over])).toEqual(
      answers.map(() => ({ confirmed: false, code: 'not_found' })),
    )
    release()
    expect(await watched.over).toBeUndefined()
  })

  test('by two clients is one cancel', async () => {
    const { tools, contexts, release } = waiting()
    await using served = await servedAgent({ model: scriptedModel(calls(...three), says('ok')), tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')
    const view = new Watched(served.another().attach('agent', (await watched.run.opened).id))
    await view.first('tool.call', ({ call }) => call === 'c')
    const both = await Promise.all([watched.run.cancel({ call: 'a' }), view.run.cancel({ call: 'a' })])
    const [first, second] = both
    expect(first).toMatchObject({ outcome: 'cancelled' })
    if (second.confirmed) expect(second).toEqual(first)
    else expect(second.code).toBe('not_found')
    release()
    await Promise.all([watched.over, view.over])
    expect(watched.all('tool.result').filter(({ call }) => call === 'a')).toHaveLength(1)
    expect(view.comparable).toEqual(watched.comparable)
  })

  test('by an observer is forbidden and changes nothing', async () => {
    const { tools, contexts, release } = waiting()
    await using served = await servedAgent({ model: scriptedModel(calls(...three), says('ok')), tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')
    await using eve = await wireClient(served.url, { auth: 'eve' })
    eve.attach(1, (await watched.run.opened).id, 0)
    eve.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'a' } })
    expect(await eve.next('notice')).toMatchObject({
      code: 'forbidden',
      ref: { tag: 5, sid: 1, detail: ['call', 'a'] },
    })
    const view = served.another(served.url, 'eve').attach('agent', (await watched.run.opened).id)
    const refused = view.cancel({ call: 'a' })
    expect(await Promise.race([refused, view.end])).toEqual({ confirmed: false, code: 'forbidden' })
    expect(contexts.get('a')!.signal.aborted).toBe(false)
    release()
    expect(await watched.over).toBeUndefined()
  })

  test('of a tool that does not stop says so after the grace, and its slot stays taken until it has', async () => {
    const { tools, release } = stubborn()
    const model = scriptedModel(calls({ call: 's', name: 'stubborn', args: {} }), says('ok'))
    await using served = await servedAgent({ model, tools }, { limits: { cancelGraceMs: 20 } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('tool.call')
    expect(await watched.run.cancel({ call: 's' })).toMatchObject({ outcome: 'cancelled', settled: false })
    expect(await watched.over).toBeUndefined()
    expect(watched.text).toBe('ok')
    expect(served.server.liveRuns).toBe(1)
    release()
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
  })

  test('that still checks whether it needs approval says so as well', async () => {
    const { opened, open } = latch()
    const asked = latch()
    const slow = tool({
      description: 'x',
      needsApproval: async () => {
        asked.open()
        await opened
        return false
      },
      run: () => 'never',
    })
    const model = scriptedModel(calls({ call: 's', name: 'slow', args: {} }), says('ok'))
    await using served = await servedAgent({ model, tools: { slow } }, { limits: { cancelGraceMs: 50 } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await asked.opened
    await watched.first('tool.call')
    expect(await watched.run.cancel({ call: 's' })).toMatchObject({ outcome: 'cancelled', settled: false })
    open()
    expect(await watched.over).toBeUndefined()
  })

  test('of a generator runs its finally, also while its reader reads nothing', async () => {
    let cleaned = false
    const endless = tool({
      description: 'x',
      async *run() {
        try {
          for (;;) yield 'more'
        } finally {
          cleaned = true
        }
      },
    })
    const model = scriptedModel(calls({ call: 'e', name: 'endless', args: {} }), says('ok'))
    await using served = await servedAgent({ model, tools: { endless } })
    await using client = await wireClient(served.url)
    client.start(1, 'agent', 'go', { credit: 8 })
    await client.until(() => client.count(1) === 8)
    client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'e' } })
    await eventually(() => cleaned, 'the generator is closed')
    client.send({ kind: 'credit', sid: 1, n: 200 })
    expect(await client.next('end')).toMatchObject({ outcome: 'done' })
    const result = client.items(1).find(({ type }) => type === 4)
    expect(result).toMatchObject({ data: { call: 'e', outcome: 2, receipt: { settled: true } } })
  })

  test.each([0, 32])(
    'is answered by its result, however often it is repeated before (readAhead %i)',
    async (readAhead) => {
      const { tools, contexts, release } = waiting()
      const model = scriptedModel(calls(...three), says('ok'))
      await using served = await servedAgent({ model, tools }, { limits: { readAhead } })
      await using client = await wireClient(served.url)
      const isCall = ({ type }: { type?: unknown }): boolean => type === 3
      client.start(1, 'agent', 'go', { credit: 1 })
      while (client.items(1).filter(isCall).length < 3) {
        client.send({ kind: 'credit', sid: 1, n: 1 })
        await client.settle()
      }
      await eventually(() => contexts.size === 3, 'three calls go on')
      // Its reader has all there is, and no credit for more.
      for (const id of ['a', 'a', 'nobody', 'a']) {
        client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id } })
        await client.settle()
      }
      expect(contexts.get('a')!.signal.aborted).toBe(true)
      release()
      client.send({ kind: 'credit', sid: 1, n: 100 })
      await client.next('end')
      await client.settle()
      const isResult = (frame: DownFrame): boolean =>
        frame.kind === 'event' && frame.type === 4 && frame.data['call'] === 'a'
      const refuses = (frame: DownFrame, call: string): boolean =>
        frame.kind === 'notice' && frame.code === 'not_found' && (frame.ref?.detail as string[])[1] === call
      const answer = client.frames.findIndex((frame) => isResult(frame) || refuses(frame, 'a'))
      expect(client.frames[answer]).toMatchObject({ data: { call: 'a', outcome: 2, receipt: { settled: true } } })
      expect(client.frames.some((frame) => refuses(frame, 'nobody'))).toBe(true)
    },
  )

  test.each(['log', 'merge', 'latest'] as const)(
    'is answered by its result also behind items that are missing (policy %s)',
    async (policy) => {
      const finish = tool({ description: 'x', run: () => 'finished' })
      const started = latch()
      const { opened, open } = latch()
      const chatty = actor({
        async *stream(_: unknown, { tools }: ActorContext) {
          yield 'first'
          await started.opened
          for (let n = 0; n < 100; n++) yield `${n} `
          await tools({ finish }).call({ call: 'a', name: 'finish', args: {} })
          await opened
        },
      })
      const limits = { retainEvents: 20, maxCredit: 8, initialCredit: 8, readAhead: 4 }
      await using served = await testServer({ chatty }, { limits })
      await using client = await served.client()
      client.start(1, 'chatty', null, { credit: 1, policy })
      await client.until(() => client.count(1) === 1)
      started.open()
      await client.settle()
      // All was said; of what its reader has no credit for, most is not kept any more.
      client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'a' } })
      const isAnswer = (frame: DownFrame): boolean =>
        frame.kind === 'notice' || (frame.kind === 'event' && frame.type === 4)
      while (!client.frames.some(isAnswer)) {
        client.send({ kind: 'credit', sid: 1, n: 1 })
        await client.settle()
      }
      expect(client.frames.find(isAnswer)).toMatchObject({ kind: 'event', data: { call: 'a' } })
      expect(await client.next('notice')).toMatchObject({ code: 'not_found' })
      open()
      await client.next('end')
    },
  )

  test('is answered also where its result is skipped, once the call is over', async () => {
    const { tools, contexts } = waiting()
    const rest = latch()
    const model = scriptedModel(calls({ call: 'a', name: 'wait', args: {} }), async function* () {
      yield { type: 'thinking', text: 'hm' }
      await rest.opened
      yield* says('ok')
    })
    await using served = await servedAgent({ model, tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.run.opened
    await eventually(() => contexts.size === 1, 'the call goes on')
    const view = new Watched(served.another().attach('agent', id, { policy: 'latest' }))
    await view.first('tool.call')
    const answer = view.run.cancel({ call: 'a' })
    await view.first('thinking')
    expect(view.all('tool.result')).toEqual([])
    expect(await answer).toEqual({ confirmed: false, code: 'not_found' })
    expect(await watched.first('tool.result')).toMatchObject({ outcome: 'cancelled' })
    rest.open()
    await Promise.all([watched.over, view.over])
  })

  test('that is sent while the connection is lost comes with the next one', async () => {
    const { tools, contexts, release } = waiting()
    await using served = await servedAgent({ model: scriptedModel(calls(...three), says('ok')), tools })
    await using proxy = await TcpProxy.to(Number(new URL(served.url).port))
    const connection = proxy.next()
    const watched = new Watched(served.another(proxy.url).start('agent', 'go'))
    await watched.first('tool.call', ({ call }) => call === 'c')
    await eventually(() => contexts.size === 3, 'three calls go on')
    ;(await connection).cut()
    expect(await watched.run.cancel({ call: 'c' })).toMatchObject({ outcome: 'cancelled', settled: true })
    release()
    expect(await watched.over).toBeUndefined()
    expect(
      watched
        .all('tool.result')
        .map(({ call, outcome }) => `${call} ${outcome}`)
        .sort(),
    ).toEqual(['a ok', 'b ok', 'c cancelled'])
  })
})

describe('a cancel of the run', () => {
  test('stops every tool, and its receipt names them', async () => {
    const { tools, contexts } = waiting()
    await using served = await servedAgent({ model: scriptedModel(calls(...three), says('never')), tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await eventually(() => contexts.size === 3, 'three calls go on')
    expect(await watched.run.cancel()).toMatchObject({
      outcome: 'cancelled',
      settled: true,
      unsettled: [],
      provider: 'none',
      tools: ['a', 'b', 'c'],
    })
    expect([...contexts.values()].every(({ signal }) => signal.aborted)).toBe(true)
    expect(served.server.liveRuns).toBe(0)
  })

  test('names a tool that does not stop as unsettled', async () => {
    const { tools, release } = stubborn()
    const model = scriptedModel(calls({ call: 's', name: 'stubborn', args: {} }), says('never'))
    await using served = await servedAgent({ model, tools }, { limits: { cancelGraceMs: 20 } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('tool.call')
    expect(await watched.run.cancel()).toMatchObject({ settled: false, unsettled: ['s'], tools: [] })
    expect(served.server.liveRuns).toBe(1)
    release()
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
    expect(model.asked).toHaveLength(1)
  })
})
