import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actionChunks, actor, MillraceError, workflowFromData } from '../../../server/index.ts'
import { testServer } from '../../helpers/server.ts'
import { servedWorkflow, stepsOf } from '../../helpers/workflow-run.ts'

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const upper = actor({
  input: z.object({ text: z.string() }),
  async *stream({ text }) {
    yield text.toUpperCase()
  },
})
const add = actor({
  input: z.object({ n: z.number(), by: z.number() }),
  ask: ({ n, by }) => ({ n: n + by, isDone: n + by > 4 }),
})
const fail = actor({
  ask: (): number => {
    throw new MillraceError('unavailable', 'down')
  },
})
const actors = { upper, add, fail }

describe('a workflow as data', () => {
  test('does what it says: steps, branches, ways, loops, lists and waits', async () => {
    const work = workflowFromData(
      {
        description: 'all of it',
        steps: [
          {
            type: 'parallel',
            name: 'both',
            branches: {
              loud: [{ type: 'actor', actorType: 'upper', input: { text: '{{input.word}}!' }, streaming: true }],
              sum: [
                { type: 'actor', actorType: 'add', input: { n: '{{input.n}}', by: 1 } },
                {
                  type: 'loop',
                  name: 'more',
                  steps: [{ type: 'actor', actorType: 'add', input: { n: '{{value.n}}', by: 1 } }],
                  until: { value: '{{value.isDone}}', is: true },
                },
              ],
            },
          },
          { type: 'wait', name: 'a moment', ms: 1 },
          { type: 'wait', name: 'no time', until: '2020-01-01T00:00:00Z' },
          {
            type: 'route',
            name: 'way',
            by: 'n{{value.sum.n}}',
            cases: {
              n5: [
                {
                  type: 'map',
                  name: 'words',
                  over: '{{input.words}}',
                  steps: [{ type: 'actor', actorType: 'upper', input: { text: '{{value}} of {{input.word}}' } }],
                },
              ],
              else: [{ type: 'actor', actorType: 'fail' }],
            },
          },
        ],
      },
      { actors, input: z.object({ word: z.string(), n: z.number(), words: z.array(z.string()) }) },
    )
    expect(work.description).toBe('all of it')
    await using served = await servedWorkflow(work)
    const watched = served.start({ word: 'mill', n: 1, words: ['a', 'b'] })
    expect(await watched.run.result).toEqual(['A OF MILL', 'B OF MILL'])
    expect(stepsOf(watched)).toContain('both/sum/more[3] done')
    // Only the step that streams shows what its actor said.
    expect(watched.all('token').map(({ text }) => text)).toEqual(['MILL!'])
  })

  test('asks and waits for approval, and takes another value where a step fails', async () => {
    const work = workflowFromData(
      {
        steps: [
          { type: 'ask', name: 'name', prompt: 'Who is {{input}}?', kind: 'text' },
          { type: 'approve', name: 'sure', prompt: 'Is it {{value}}?' },
          {
            type: 'actor',
            actorType: 'fail',
            retry: { attempts: 2, delayMs: 0 },
            recover: { was: '{{value}}', of: '{{input}}' },
          },
        ],
      },
      { actors },
    )
    await using served = await servedWorkflow(work)
    const watched = served.start('she')
    const asked = await watched.first('request')
    expect(asked.prompt).toBe('Who is she?')
    await watched.run.send('answer', { request: asked.id, value: 'Ada' })
    const sure = await watched.first('request', ({ id }) => id !== asked.id)
    expect(sure.prompt).toBe('Is it Ada?')
    await watched.run.send('answer', { request: sure.id, value: true })
    expect(await watched.run.result).toEqual({ was: 'Ada', of: 'she' })
  })

  test('reads own members only, and takes what is not there for nothing', async () => {
    const echo = actor({ ask: (input: unknown) => ({ given: input }) })
    const work = workflowFromData(
      {
        steps: [
          {
            type: 'actor',
            actorType: 'echo',
            input: ['{{input.constructor}}', '{{input.__proto__.x}}', '<{{input.a.b}}>', '{{input}}'],
          },
        ],
      },
      { actors: { echo } },
    )
    await using served = await servedWorkflow(work)
    expect(await served.start({ a: 1 }).run.result).toEqual({ given: [null, null, '<>', { a: 1 }] })
  })

  const deep = (depth: number): object =>
    depth === 0
      ? { type: 'actor', actorType: 'add' }
      : { type: 'loop', name: 'l', until: { value: '{{value}}' }, steps: [deep(depth - 1)] }
  test.each<[string, unknown, string]>([
    ['is no object', 7, 'this is no workflow'],
    ['has no steps', { steps: [] }, 'this is no workflow: '],
    ['has an unknown sort of step', { steps: [{ type: 'script', code: '1' }] }, 'steps.0'],
    ['has a misspelt member', { steps: [{ type: 'wait', name: 'a', msec: 1 }] }, 'steps.0'],
    [
      'names an unknown actor',
      { steps: [{ type: 'actor', actorType: 'toString' }] },
      'step toString: unknown actor toString; known actors: upper, add, fail',
    ],
    [
      'refers to something unknown',
      { steps: [{ type: 'actor', actorType: 'add', input: '{{env.KEY}}' }] },
      '{{env.KEY}} must begin with value, input',
    ],
    [
      'waits for two times',
      { steps: [{ type: 'wait', name: 'a', ms: 1, until: 'x' }] },
      'step a needs either ms or until',
    ],
    [
      'has a name twice',
      {
        steps: [
          { type: 'wait', name: 'a', ms: 1 },
          { type: 'wait', name: 'a', ms: 1 },
        ],
      },
      'there are two steps a',
    ],
    [
      'has a branch that no object can have',
      JSON.parse(
        `{ "steps": [{ "type": "parallel", "name": "p", "branches": {
          "a": [{ "type": "wait", "name": "w", "ms": 1 }],
          "__proto__": [{ "type": "wait", "name": "w", "ms": 1 }] } }] }`,
      ),
      'steps.0.branches: nothing may be named __proto__',
    ],
    ['is nested without end', { steps: [deep(100)] }, 'nested 64 deep'],
    [
      'is endless',
      { steps: Array.from({ length: 40_000 }, () => ({ type: 'wait', name: 'a', ms: 1 })) },
      'at most 32000 values',
    ],
  ])('is refused when it %s, with the place of the problem', (_, definition, message) => {
    const make = () => workflowFromData(definition, { actors })
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  test('fails where a list is none, and where a time is none', async () => {
    const list = workflowFromData(
      { steps: [{ type: 'map', name: 'm', over: '{{input}}', steps: [{ type: 'actor', actorType: 'add' }] }] },
      { actors },
    )
    const time = workflowFromData({ steps: [{ type: 'wait', name: 'w', until: '{{input}}' }] }, { actors })
    await using lists = await servedWorkflow(list)
    await expect(lists.start(7).run.result).rejects.toMatchObject({ message: 'step m failed: {{input}} is no list' })
    await using times = await servedWorkflow(time)
    await expect(times.start('soon').run.result).rejects.toMatchObject({
      message: expect.stringContaining('step w failed'),
    })
  })
})

describe('a definition of an earlier system', () => {
  const definition = {
    id: 'letters',
    name: 'Letters',
    actions: [
      { type: 'actor', actorType: 'upper', input: { text: '{{input.word}}' }, streaming: true },
      { type: 'actor', actorType: 'add', input: { n: 1, by: 2 } },
    ],
  }

  test('runs, and its chunks are start, action-start, data, action-complete and complete', async () => {
    const work = workflowFromData(definition, { actors })
    await using served = await servedWorkflow(work)
    const chunks = await allOf(actionChunks(served.client.start('work', { word: 'ab' })))
    expect(chunks).toEqual([
      { type: 'start' },
      { type: 'action-start', action: 'upper', name: 'upper' },
      { type: 'data', data: 'AB', action: 'upper' },
      { type: 'action-complete', action: 'upper', name: 'upper', result: 'AB', ms: expect.any(Number) },
      { type: 'action-start', action: 'add', name: 'add' },
      { type: 'action-complete', action: 'add', name: 'add', result: { n: 3, isDone: false }, ms: expect.any(Number) },
      { type: 'complete', result: { n: 3, isDone: false } },
    ])
  })

  test('has the same chunks inside the server, and says where it fails without throwing', async () => {
    const failing = workflowFromData(
      { actions: [...definition.actions, { type: 'actor', actorType: 'fail' }] },
      { actors },
    )
    await using served = await testServer({ work: workflowFromData(definition, { actors }), failing })
    const chunks = await allOf(actionChunks(served.server.router.stream('work', { word: 'ab' })))
    expect(chunks.at(-1)).toEqual({ type: 'complete', result: { n: 3, isDone: false } })
    const failed = await allOf(actionChunks(served.server.router.stream('failing', { word: 'ab' })))
    expect(failed.at(-1)).toEqual({
      type: 'error',
      error: { code: 'unavailable', message: 'step fail failed: down' },
      action: 'fail',
    })
  })

  test('reports the progress of an actor as that of its action', async () => {
    const steps = actor({
      async *stream() {
        yield { type: 'progress' as const, current: 1, total: 2, message: 'half' }
        yield { type: 'data' as const, name: 'row', value: 7 }
      },
    })
    const work = workflowFromData(
      { actions: [{ type: 'actor', actorType: 'steps', streaming: true }] },
      { actors: { steps } },
    )
    await using served = await servedWorkflow(work)
    const chunks = await allOf(actionChunks(served.client.start('work', null)))
    expect(chunks).toContainEqual({ type: 'progress', current: 1, total: 2, message: 'half', action: 'steps' })
    expect(chunks).toContainEqual({ type: 'data', data: 7, name: 'row', action: 'steps' })
  })
})
