import { expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { MillraceError, type Orchestrator, taskAgent } from '../../../server/index.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'

const parameters = { type: 'object', properties: { n: { type: 'number' } } }

/** An orchestrator with a tool that works, one that fails for a reason, and one that waits to be stopped. */
function orchestrator(): Orchestrator & { readonly executed: unknown[]; readonly stopped: unknown[] } {
  const executed: unknown[] = []
  const stopped: unknown[] = []
  return {
    executed,
    stopped,
    tools: ['double', 'fail', 'break', 'wait'].map((name) => ({ name, description: name, parameters })),
    async execute({ name, args }, { signal }) {
      executed.push([name, args])
      if (name === 'fail') throw new MillraceError('tool_failed', 'no worker is free')
      if (name === 'break') throw new Error('a secret of the worker')
      if (name === 'wait') {
        await aborted(signal)
        stopped.push(name)
      }
      return { doubled: (args as { n: number }).n * 2 }
    },
  }
}

async function served(model: ReturnType<typeof scriptedModel>, coordinator: Orchestrator) {
  const server = await testServer({
    worker: taskAgent({ model, orchestrator: coordinator, instructions: 'Be brief.' }),
  })
  const client = createClient(server.url, { token: 'alice' })
  return {
    client,
    errors: server.errors,
    async [Symbol.asyncDispose]() {
      await client.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

test('a task request becomes a conversation with its tool calls, and each call reports how it goes', async () => {
  const coordinator = orchestrator()
  const model = scriptedModel(calls({ call: 'c1', name: 'double', args: { n: 21 } }), says('It is 42.'))
  await using all = await served(model, coordinator)
  const run = all.client.start('worker', { task: 'Double it.', context: { n: 21 } })
  const progress: unknown[] = []
  for await (const event of run) if (event.type === 'tool.progress') progress.push(event.note)
  expect(progress).toEqual(['executing', 'completed'])
  expect(await run.result).toEqual({
    text: 'It is 42.',
    messages: [
      { role: 'user', content: 'Double it.\n\n{"n":21}' },
      { role: 'assistant', content: '', calls: [{ call: 'c1', name: 'double', args: { n: 21 } }] },
      { role: 'tool', call: 'c1', name: 'double', content: '{"doubled":42}' },
      { role: 'assistant', content: 'It is 42.' },
    ],
  })
  expect(coordinator.executed).toEqual([['double', { n: 21 }]])
})

test('a failed call says why, an unknown tool is an error, and the task goes on', async () => {
  const coordinator = orchestrator()
  const model = scriptedModel(
    calls(
      { call: 'c1', name: 'fail', args: {} },
      { call: 'c2', name: 'break', args: {} },
      { call: 'c3', name: 'fly', args: {} },
    ),
    says('sorry'),
  )
  await using all = await served(model, coordinator)
  const run = all.client.start('worker', { task: 'Try.' })
  const progress: Record<string, unknown[]> = {}
  const errors: Record<string, unknown> = {}
  for await (const event of run) {
    if (event.type === 'tool.progress') (progress[event.call] ??= []).push(event.note)
    if (event.type === 'tool.result') errors[event.call] = event.error
  }
  expect(progress).toEqual({
    c1: ['executing', 'failed: no worker is free'],
    c2: ['executing', 'failed: the tool failed'],
  })
  expect(errors).toEqual({
    c1: 'no worker is free',
    c2: 'the tool failed',
    c3: 'unknown tool fly; known tools: double, fail, break, wait',
  })
  expect(await run.result).toMatchObject({ text: 'sorry' })
  expect(all.errors).toMatchObject([{ message: 'a secret of the worker' }])
})

test('a conversation is the beginning of the next task, and a stop reaches the orchestrator', async () => {
  const coordinator = orchestrator()
  const model = scriptedModel(says('Hello.'), calls({ call: 'c1', name: 'wait', args: {} }))
  await using all = await served(model, coordinator)
  const { messages } = (await all.client.ask('worker', { task: 'Greet.' })) as { messages: object[] }
  const run = all.client.start('worker', { task: 'Wait.', messages })
  for await (const event of run) {
    if (event.type === 'tool.progress') expect(await run.cancel()).toMatchObject({ settled: true, tools: ['c1'] })
  }
  expect(model.asked[1]).toMatchObject([
    { role: 'system' },
    { content: 'Greet.' },
    { content: 'Hello.' },
    { content: 'Wait.' },
  ])
  expect(coordinator.stopped).toEqual(['wait'])
})

test('an agent with an invalid definition is refused before it runs', () => {
  const broken = { ...orchestrator(), tools: [{ name: 'a b', description: '', parameters }] }
  expect(() => taskAgent({ orchestrator: broken })).toThrow('invalid tool name a b')
})
