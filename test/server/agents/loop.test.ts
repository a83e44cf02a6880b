import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { MillraceError } from '../../../protocol/errors.ts'
import { agent, type Message, type ModelEvent, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { capturedRuns } from '../../helpers/captured-runs.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

const add = tool({
  description: 'Adds',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => a + b,
})
const sum = (call: string, a: number, b: number) => ({ call, name: 'add', args: { a, b } })

describe('an agent with tools', () => {
  test('asks its model, calls the tools it asks for, and goes on until the model makes no more calls', async () => {
    const model = scriptedModel(
      [
        { type: 'thinking', text: 'sums' },
        { type: 'text', text: 'Let me see. ' },
        ...calls(sum('c1', 1, 2), sum('c2', 3, 4)),
      ],
      calls(sum('c3', 3, 7)),
      says('It is 10.'),
    )
    await using served = await servedAgent({ model, tools: { add }, instructions: 'be exact' })
    const watched = new Watched(served.client.start('agent', 'sum'))
    expect(await watched.run.result).toBe('Let me see. It is 10.')
    expect(await watched.run.end).toMatchObject({
      outcome: 'done',
      stop: 'stop',
      iterations: 3,
      usage: { input: 30, output: 12 },
    })
    expect(watched.comparable).toEqual([
      { type: 'iteration', n: 1, max: 8 },
      { type: 'thinking', text: 'sums' },
      { type: 'token', text: 'Let me see. ' },
      { type: 'usage', input: 10, output: 5 },
      { type: 'tool.call', ...sum('c1', 1, 2) },
      { type: 'tool.call', ...sum('c2', 3, 4) },
      { type: 'tool.result', call: 'c1', outcome: 'ok', output: 3, ms: 0 },
      { type: 'tool.result', call: 'c2', outcome: 'ok', output: 7, ms: 0 },
      { type: 'iteration.end', n: 1, stop: 'tool_calls' },
      { type: 'iteration', n: 2, max: 8 },
      { type: 'usage', input: 10, output: 5 },
      { type: 'tool.call', ...sum('c3', 3, 7) },
      { type: 'tool.result', call: 'c3', outcome: 'ok', output: 10, ms: 0 },
      { type: 'iteration.end', n: 2, stop: 'tool_calls' },
      { type: 'iteration', n: 3, max: 8 },
      { type: 'token', text: 'It is 10.' },
      { type: 'usage', input: 10, output: 2 },
      { type: 'iteration.end', n: 3, stop: 'stop' },
    ])
    expect(model.asked[2]).toEqual([
      { role: 'system', content: 'be exact' },
      { role: 'user', content: 'sum' },
      { role: 'assistant', content: 'Let me see. ', thinking: 'sums', calls: [sum('c1', 1, 2), sum('c2', 3, 4)] },
      { role: 'tool', call: 'c1', name: 'add', content: '3' },
      { role: 'tool', call: 'c2', name: 'add', content: '7' },
      { role: 'assistant', content: '', calls: [sum('c3', 3, 7)] },
      { role: 'tool', call: 'c3', name: 'add', content: '10' },
    ])
  })

  test('runs the tools of one turn side by side, and gives the outputs to the model in the order of its calls', async () => {
    let going = 0
    const all = latch()
    const meet = tool({
      description: 'x',
      run: async (_, { call }) => {
        if (++going === 3) all.open()
        await all.opened
        if (call === 'a') await new Promise((resolve) => setImmediate(resolve))
        return call
      },
    })
    const made = ['a', 'b', 'c'].map((call) => ({ call, name: 'meet', args: {} }))
    const model = scriptedModel(calls(...made), says('met'))
    await using served = await servedAgent({ model, tools: { meet } })
    expect(await served.client.start('agent', 'go').result).toBe('met')
    expect(model.asked[1]!.slice(2).map((message) => message.content)).toEqual(
      ['"a"', '"b"', '"c"'].map((c) => c.slice(1, 2)),
    )
  })

  test('shows arguments as they are written, under the id of the call that follows', async () => {
    const pieces: ModelEvent[] = ['{"a":1,', '"b":2}'].map((text) => ({
      type: 'tool.args',
      call: 'x',
      name: 'add',
      text,
    }))
    const model = scriptedModel([...pieces, ...calls({ ...sum('x', 1, 2) })], says('3'))
    await using served = await servedAgent({ model, tools: { add } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.over
    expect(watched.all('tool.args').map(({ call, name, text }) => ({ call, name, text }))).toEqual([
      { call: 'x', name: 'add', text: '{"a":1,' },
      { call: 'x', name: 'add', text: '"b":2}' },
    ])
  })

  test('gives each call of a run an id of its own, whatever id the model gives it', async () => {
    const model = scriptedModel(
      calls(sum('x', 1, 1), sum('x', 2, 2), sum('', 3, 3), sum('\ud800', 4, 4), sum('l'.repeat(10_000), 5, 5)),
      calls(sum('x', 6, 6)),
      says('ok'),
    )
    await using served = await servedAgent({ model, tools: { add } })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.over).toBeUndefined()
    const ids = watched.all('tool.call').map(({ call }) => call)
    expect(ids).toEqual(['x', 'x_2', 'call', 'call_2', 'call_3', 'x_3'])
    expect(watched.all('tool.result').map(({ call, output }) => [call, output])).toEqual(
      ids.map((id, n) => [id, (n + 1) * 2]),
    )
  })

  test('makes at most 32 calls a turn, and reports how many it left out', async () => {
    const model = scriptedModel(calls(...Array.from({ length: 40 }, (_, n) => sum(`c${n}`, n, n))), says('ok'))
    await using served = await servedAgent({ model, tools: { add } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.over
    expect(watched.all('tool.result')).toHaveLength(32)
    expect(watched.all('warning')).toMatchObject([
      { code: 'too_many_calls', message: expect.stringContaining('8 tool calls') },
    ])
    expect(model.asked[1]).toHaveLength(2 + 32)
  })

  test('fails when its model makes calls without end', async () => {
    let finished: Message[] = []
    const model = scriptedModel(calls(sum('c', 1, 2)))
    await using served = await servedAgent({
      model,
      tools: { add },
      maxIterations: 3,
      onFinish: (conversation) => void (finished = conversation),
    })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.over).toMatchObject({
      code: 'max_iterations',
      message: 'the model needs more than 3 turns: raise maxIterations',
    })
    expect(model.asked).toHaveLength(3)
    expect(watched.all('tool.result')).toHaveLength(2)
    expect(finished.at(-1)).toMatchObject({ role: 'tool', content: 'Error: stopped before it was finished' })
  })

  test('goes on from a conversation that was handed out, and repairs an incomplete one', async () => {
    const model = scriptedModel(says('and'))
    await using served = await servedAgent({ model })
    const messages: Message[] = [
      { role: 'user', content: 'sum' },
      { role: 'assistant', content: '', calls: [sum('c1', 1, 2), sum('c2', 1, 2)] },
      { role: 'tool', call: 'c2', name: 'add', content: '3' },
      { role: 'user', content: 'well?' },
    ]
    await served.client.start('agent', { messages }).result
    expect(model.asked[0]).toEqual([
      messages[0],
      messages[1],
      { role: 'tool', call: 'c1', name: 'add', content: 'Error: stopped before it was finished' },
      messages[2],
      messages[3],
    ])
  })

  test.each(['', 'with space', 'a'.repeat(65), 'ünlaut'])('cannot have a tool called %j', (name) => {
    expect(() => agent({ tools: { [name]: add } })).toThrow('invalid tool name')
  })

  test.each([0, -1, Number.NaN])('cannot have %d turns', (maxIterations) => {
    expect(() => agent({ maxIterations })).toThrow('maxIterations')
  })
})

describe('a message to a running agent', () => {
  test('reaches the model before its next turn', async () => {
    const release = latch()
    const hold = tool({ description: 'x', run: () => release.opened })
    const model = scriptedModel(calls({ call: 'h', name: 'hold', args: {} }), says('short'))
    await using served = await servedAgent({ model, tools: { hold } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('tool.call')
    await watched.run.send('message', 'shorter')
    await watched.run.send('message', { please: true })
    await watched.run.send('whatever', 1)
    release.open()
    expect(await watched.over).toBeUndefined()
    expect(model.asked[1]!.slice(-2)).toEqual([
      { role: 'user', content: 'shorter' },
      { role: 'user', content: '{"please":true}' },
    ])
    expect(watched.all('warning')).toMatchObject([{ code: 'input_ignored' }])
  })

  test('causes another turn when it comes during the last one', async () => {
    const release = latch()
    const model = scriptedModel(async function* () {
      yield { type: 'text', text: 'Done. ' }
      await release.opened
      yield { type: 'finish', stop: 'stop' }
    }, says('More.'))
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.send('message', 'and?')
    release.open()
    expect(await watched.run.result).toBe('Done. More.')
    expect(model.asked[1]!.slice(1)).toEqual([
      { role: 'assistant', content: 'Done. ' },
      { role: 'user', content: 'and?' },
    ])
  })

  test('is refused once the agent has decided to end, and every accepted message reaches the model', async () => {
    const [finishing, release] = [latch(), latch()]
    const model = scriptedModel(says('Done.'))
    const handed: Message[][] = []
    await using served = await servedAgent({
      model,
      async onFinish(conversation) {
        finishing.open()
        await release.opened
        handed.push(conversation)
      },
    })
    const { run, over } = new Watched(served.client.start('agent', 'go'))
    await finishing.opened
    await expect(run.send('message', 'too late')).rejects.toMatchObject({ code: 'not_found' })
    release.open()
    expect(await over).toBeUndefined()
    expect(handed[0]).toEqual([
      { role: 'user', content: 'go' },
      { role: 'assistant', content: 'Done.' },
    ])
  })

  test('is refused in the last turn that maxIterations allows', async () => {
    const release = latch()
    const model = scriptedModel(async function* () {
      yield { type: 'text', text: 'Done.' }
      await release.opened
      yield { type: 'finish', stop: 'stop' }
    })
    await using served = await servedAgent({ model, maxIterations: 1 })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await expect(watched.run.send('message', 'and?')).rejects.toMatchObject({ code: 'not_found' })
    release.open()
    expect(await watched.over).toBeUndefined()
    expect(watched.all('warning')).toEqual([])
  })

  test('stays in the conversation when the model fails before its next turn', async () => {
    const release = latch()
    const model = scriptedModel(async function* () {
      yield { type: 'text', text: 'Half' }
      await release.opened
      throw new MillraceError('truncated', 'broke off')
    })
    let handed: Message[] = []
    await using served = await servedAgent({ model, onFinish: (all) => void (handed = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.send('message', 'and?')
    release.open()
    expect(await watched.over).toMatchObject({ code: 'truncated' })
    expect(handed).toEqual([
      { role: 'user', content: 'go' },
      { role: 'assistant', content: 'Half' },
      { role: 'user', content: 'and?' },
    ])
  })

  test('stays in the conversation when the run stops while it warns about another input', async () => {
    const release = latch()
    const model = scriptedModel(async function* () {
      yield { type: 'text', text: 'hi' }
      await release.opened
      yield { type: 'finish', stop: 'stop' }
    })
    let handed: Message[] = []
    const over = latch()
    using runs = capturedRuns()
    const onFinish = (all: Message[]): void => {
      handed = all
      over.open()
    }
    await using served = await servedAgent({ model, onFinish }, { limits: { readAhead: 4 } })
    const run = served.client.start('agent', 'go', { credit: 1 })
    const events = run[Symbol.asyncIterator]()
    await events.next()
    await run.send('message', 'keep me')
    for (let n = 0; n < 14; n++) await run.send('other', n)
    release.open()
    // The reader stopped: the warnings fill what is read ahead, and the agent waits among them.
    await eventually(() => runs.newest.gated, 'the agent waits for its reader')
    await run.cancel()
    await over.opened
    expect(handed).toContainEqual({ role: 'user', content: 'keep me' })
  })

  test('of another type is warned about when the model fails before its next turn', async () => {
    const [begun, release] = [latch(), latch()]
    const model = scriptedModel(async function* () {
      begun.open()
      await release.opened
      throw new MillraceError('truncated', 'broke off')
    })
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    await begun.opened
    await watched.run.send('whatever', 1)
    release.open()
    expect(await watched.over).toMatchObject({ code: 'truncated' })
    expect(watched.all('warning')).toMatchObject([{ code: 'input_ignored' }])
  })

  test('is refused by an agent that is not interactive', async () => {
    const release = latch()
    const hold = tool({ description: 'x', run: () => release.opened })
    const model = scriptedModel(calls({ call: 'h', name: 'hold', args: {} }), says('ok'))
    await using served = await servedAgent({ model, tools: { hold }, interactive: false })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('tool.call')
    await expect(watched.run.send('message', 'x')).rejects.toMatchObject({ code: 'invalid_input' })
    release.open()
    await watched.over
  })
})

describe('the conversation that an agent hands out', () => {
  /** Cancels an agent when `at` says so, and returns what it handed out. */
  async function cancelledAt(at: (watched: Watched) => Promise<unknown>): Promise<Message[]> {
    let handed: Message[] | undefined
    const never = latch()
    const hold = tool({
      description: 'x',
      run: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    })
    const model = scriptedModel(
      [{ type: 'text', text: 'I add. ' }, ...calls(sum('c1', 1, 2), { call: 'h1', name: 'hold', args: {} })],
      async function* ({ signal }) {
        yield { type: 'text', text: 'Half' }
        signal.addEventListener('abort', never.open)
        await never.opened
        signal.throwIfAborted()
        yield { type: 'finish', stop: 'stop' }
      },
    )
    await using served = await servedAgent({ model, tools: { add, hold }, onFinish: (all) => void (handed = all) })
    const watched = new Watched(served.client.start('agent', 'go'))
    await at(watched)
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    await eventually(() => handed !== undefined, 'the conversation is handed out')
    return handed!
  }
  const calling = [sum('c1', 1, 2), { call: 'h1', name: 'hold', args: {} }]

  test('has every answer after a cancel in a tool', async () => {
    expect(await cancelledAt((watched) => watched.first('tool.result'))).toEqual([
      { role: 'user', content: 'go' },
      { role: 'assistant', content: 'I add. ', calls: calling },
      { role: 'tool', call: 'c1', name: 'add', content: '3' },
      { role: 'tool', call: 'h1', name: 'hold', content: 'Error: stopped before it was finished' },
    ])
  })

  test('has the text so far after a cancel in the middle of it', async () => {
    const handed = await cancelledAt(async (watched) => {
      await watched.first('tool.result')
      await watched.run.cancel({ call: 'h1', note: 'enough' })
      await watched.first('token', ({ text }) => text === 'Half')
    })
    expect(handed.slice(2)).toEqual([
      { role: 'tool', call: 'c1', name: 'add', content: '3' },
      { role: 'tool', call: 'h1', name: 'hold', content: 'Error: cancelled by the user: enough' },
      { role: 'assistant', content: 'Half' },
    ])
  })

  test('is whole when the agent is done, and keeps the text of a model that failed', async () => {
    const handed: Message[][] = []
    const model = scriptedModel(says('Yes.'), [
      { type: 'text', text: 'No' },
      new MillraceError('truncated', 'broke off'),
    ])
    await using served = await servedAgent({ model, onFinish: async (all) => void handed.push(all) })
    expect(await served.client.start('agent', 'one').result).toBe('Yes.')
    await expect(served.client.start('agent', 'two').result).rejects.toMatchObject({ code: 'truncated' })
    expect(handed).toEqual([
      [
        { role: 'user', content: 'one' },
        { role: 'assistant', content: 'Yes.' },
      ],
      [
        { role: 'user', content: 'two' },
        { role: 'assistant', content: 'No' },
      ],
    ])
  })
})

describe('onFinish that throws', () => {
  const onFinish = (): void => {
    throw new Error('the database is away')
  }

  test('leaves the error of a model that failed as it is, and is reported', async () => {
    const model = scriptedModel([new MillraceError('context_too_long', 'too long')])
    await using served = await servedAgent({ model, onFinish })
    await expect(served.client.start('agent', 'go').result).rejects.toMatchObject({ code: 'context_too_long' })
    expect(served.errors.map(String)).toContainEqual(expect.stringContaining('the database is away'))
  })

  test('leaves the error of too many turns as it is, and is reported', async () => {
    const model = scriptedModel(calls(sum('c', 1, 2)))
    await using served = await servedAgent({ model, tools: { add }, maxIterations: 1, onFinish })
    await expect(served.client.start('agent', 'go').result).rejects.toMatchObject({ code: 'max_iterations' })
    expect(served.errors.map(String)).toContainEqual(expect.stringContaining('the database is away'))
  })

  test.each([new Error('away'), new MillraceError('overloaded', 'away')])(
    'is reported after a cancel, whatever it throws: %s',
    async (error) => {
      const model = scriptedModel(async function* ({ signal }) {
        yield { type: 'text', text: 'Half' }
        await aborted(signal)
        signal.throwIfAborted()
      })
      await using served = await servedAgent({ model, onFinish: () => Promise.reject(error) })
      const watched = new Watched(served.client.start('agent', 'go'))
      await watched.first('token')
      expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled' })
      expect(served.errors).toEqual([error])
    },
  )

  test('is the error of a run that would be done, because its conversation is not kept', async () => {
    await using served = await servedAgent({ model: scriptedModel(says('Yes.')), onFinish })
    await expect(served.client.start('agent', 'go').result).rejects.toMatchObject({ code: 'actor_failed' })
    expect(served.errors).toHaveLength(1)
  })
})
