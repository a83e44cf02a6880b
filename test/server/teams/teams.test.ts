import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import {
  type Actor,
  type ActorContext,
  type AgentInput,
  actor,
  agent,
  agentTool,
  anonymous,
  createServer,
  debateTeam,
  type Message,
  MillraceError,
  type Model,
  type ModelRequest,
  pipelineTeam,
  researchTeam,
  supervisorTeam,
  Tasks,
  tool,
} from '../../../server/index.ts'
import { textOf } from '../../../server/models/message-parts.ts'
import { openai } from '../../../server/models/openai.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted, latch, silent } from '../../helpers/test-actors.ts'
import { servedWorkflow, stepsOf } from '../../helpers/workflow-run.ts'

/** An agent that answers with its name and what it was asked. */
function named(name: string): Actor<AgentInput, undefined, never> {
  const model = scriptedModel((request: ModelRequest) => says(`${name}(${textOf(request.messages.at(-1) as Message)})`))
  return agent({ model, description: `about ${name}` })
}

describe('a pipeline', () => {
  test('gives each member the task and the work of the one before it, and answers with that of the last', async () => {
    const team = pipelineTeam({ members: { writer: named('writer'), editor: named('editor') } })
    await using served = await servedWorkflow(team)
    const watched = served.start({ prompt: 'mills' })
    expect(await watched.run.result).toBe('editor(The task: mills\n\nThe work so far:\nwriter(mills))')
    const started = watched.all('agent.start')
    expect(started.map(({ name }) => name)).toEqual(['writer', 'editor'])
    // Each speaks as itself, before the next one begins.
    const [writer, editor] = started.map(({ agent }) => agent)
    const said = watched.events.flatMap((event) =>
      event.type === 'agent.start' || event.type === 'token' || event.type === 'agent.end'
        ? [[event.type, event.agent]]
        : [],
    )
    expect(said).toEqual(
      [writer, editor].flatMap((of) => ['agent.start', 'token', 'agent.end'].map((type) => [type, of])),
    )
    expect(await watched.run.usage).toMatchObject({ input: 20, output: 4 })
  })

  test('asks as its `prompt` says', async () => {
    const team = pipelineTeam({
      members: { a: named('a'), b: named('b') },
      prompt: (member, task, work) => `${member}:${task}:${work ?? ''}`,
    })
    await using served = await servedWorkflow(team)
    expect(await served.start('x').run.result).toBe('b(b:x:a(a:x:))')
  })
})

describe('a debate', () => {
  test('lets each side speak in turn with all that was said, and then the judge', async () => {
    const heard: string[] = []
    const team = debateTeam({
      members: { pro: named('pro'), con: named('con'), judge: named('judge') },
      judge: 'judge',
      rounds: 2,
      prompt: (member, question, said) => {
        heard.push(`${member} after ${said.map((turn) => turn.member).join(' ')}`)
        return `${question}?`
      },
    })
    await using served = await servedWorkflow(team)
    const watched = served.start('mills')
    expect(await watched.run.result).toBe('judge(mills?)')
    expect(heard).toEqual([
      'pro after ',
      'con after pro',
      'pro after pro con',
      'con after pro con pro',
      'judge after pro con pro con',
    ])
    expect(stepsOf(watched)).toContain('round[2]/con done')
  })
})

describe('a research team', () => {
  test('asks all of its members at the same time, and leaves out who is cancelled', async () => {
    const others = latch()
    const stuck = silent()
    const fast = (name: string) =>
      actor({
        async *stream() {
          await others.opened
          yield `${name} found it`
        },
      })
    const team = researchTeam({
      members: { web: fast('web'), stuck, books: fast('books'), writer: named('writer') },
      writer: 'writer',
    })
    await using served = await servedWorkflow(team)
    const watched = served.start('mills')
    const { agent: branch = '' } = await watched.first('agent.start', ({ name }) => name === 'research/stuck')
    expect(await watched.run.cancel({ agent: branch })).toMatchObject({ outcome: 'cancelled', settled: true })
    others.open()
    expect(await watched.run.result).toBe(
      'writer(The task: mills\n\nFrom web:\nweb found it\n\nFrom books:\nbooks found it)',
    )
  })
})

describe('the members of a research team', () => {
  test('are asked what `question` says, and one that fails is left out', async () => {
    const broken = actor({
      async *stream() {
        yield 'half of it'
        throw new MillraceError('unavailable', 'down')
      },
    })
    const team = researchTeam({
      members: { web: named('web'), broken, writer: named('writer') },
      writer: 'writer',
      question: (member, task) => `${task} for ${member}`,
      prompt: (task, found) => `${task}: ${Object.entries(found).flat().join(' says ')}`,
    })
    await using served = await servedWorkflow(team)
    expect(await served.start('mills').run.result).toBe('writer(mills: web says web(mills for web))')
  })
})

describe('a supervisor', () => {
  test('asks its members as tools, and answers itself', async () => {
    const model = scriptedModel(
      calls({ call: 'c1', name: 'ask_writer', args: { prompt: 'a line' } }),
      says('here it is'),
    )
    await using served = await servedWorkflow(supervisorTeam({ model, members: { writer: named('writer') } }))
    const watched = served.start('mills')
    expect(await watched.run.result).toBe('here it is')
    expect(watched.all('tool.result')).toMatchObject([{ outcome: 'ok', output: 'writer(a line)' }])
  })

  test('hands the task over: its turn ends, and the member answers in its place', async () => {
    const model = scriptedModel(
      calls({ call: 'c1', name: 'hand_off', args: { member: 'writer', prompt: 'all of it' } }),
      says('never said'),
    )
    await using served = await servedWorkflow(supervisorTeam({ model, members: { writer: named('writer') } }))
    const watched = served.start('mills')
    expect(await watched.run.result).toBe('writer(all of it)')
    expect(model.asked).toHaveLength(1)
  })

  test('fails where the member that took over is stopped: what the lead has said is no answer', async () => {
    const model = scriptedModel([
      { type: 'text', text: 'Let me see. ' },
      ...calls({ call: 'c1', name: 'hand_off', args: { member: 'stuck', prompt: 'all of it' } }),
    ])
    await using served = await servedWorkflow(supervisorTeam({ model, members: { stuck: silent() } }))
    const watched = served.start('mills')
    const { agent = '' } = await watched.first('agent.start', ({ name }) => name === 'stuck')
    expect(await watched.run.cancel({ agent })).toMatchObject({ outcome: 'cancelled', settled: true })
    await expect(watched.run.result).rejects.toMatchObject({
      code: 'actor_failed',
      message: 'stuck took over, and was stopped before it had an answer',
    })
  })

  test('has tasks done in the background, waits for one, and cancels another', async () => {
    let taskIds: string[] = []
    const stopped = latch()
    const stuck = actor({
      async *stream(_: unknown, { signal }) {
        await aborted(signal)
        stopped.open()
        yield* []
      },
    })
    const idsIn = ({ messages }: ModelRequest) =>
      ['stuck', 'writer'].map((member) => {
        const said = messages.map((message) => (message.role === 'tool' ? message.content : ''))
        const facts = said.find((content) => content.includes(`"member":"${member}"`)) ?? ''
        return /"task":"([\w-]+)"/.exec(facts)?.[1] ?? ''
      })
    const model = scriptedModel(
      calls(
        { call: 'a', name: 'start_task', args: { member: 'stuck', prompt: 'x' } },
        { call: 'b', name: 'start_task', args: { member: 'writer', prompt: 'y' } },
      ),
      (request) => {
        taskIds = idsIn(request)
        return calls(
          { call: 'c', name: 'cancel_task', args: { task: taskIds[0] } },
          { call: 'd', name: 'wait_for_task', args: { task: taskIds[1] } },
        )
      },
      calls({ call: 'e', name: 'list_tasks', args: {} }, { call: 'f', name: 'wait_for_task', args: { task: 'r_x' } }),
      says('done'),
    )
    const team = supervisorTeam({ model, tasks: true, members: { stuck, writer: named('writer') } })
    await using served = await servedWorkflow(team)
    const watched = served.start('mills')
    expect(await watched.run.result).toBe('done')
    await stopped.opened
    const outputs = Object.fromEntries(
      watched.all('tool.result').map(({ call, output, error }) => [call, output ?? error]),
    )
    expect(outputs['c']).toEqual({ task: taskIds[0], member: 'stuck', state: 'cancelled' })
    expect(outputs['d']).toEqual({ task: taskIds[1], member: 'writer', state: 'done', answer: 'writer(y)' })
    expect(outputs['e']).toEqual({
      tasks: [
        { task: taskIds[0], member: 'stuck', state: 'cancelled' },
        { task: taskIds[1], member: 'writer', state: 'done' },
      ],
    })
    expect(outputs['f']).toContain('unknown task r_x; known tasks: ')
    // What the tasks said is in the run, each with its agent.
    expect(watched.all('token').find(({ text }) => text === 'writer(y)')?.agent).toBe(taskIds[1])
  })

  test('shares with its members what its run made, typed, and nothing with other runs', async () => {
    const noting = (name: string) => (shared: { notes: string[] }) =>
      agent({
        model: scriptedModel(calls({ call: 'n', name: 'note', args: { text: name } }), says('noted')),
        tools: {
          note: tool({ description: 'notes', run: (input) => shared.notes.push((input as { text: string }).text) }),
        },
      })
    const team = pipelineTeam({
      shared: () => ({ notes: [] as string[] }),
      members: (shared) => ({
        one: noting('one')(shared),
        two: noting('two')(shared),
        last: actor({ ask: () => shared.notes.join(' ') }),
      }),
    })
    await using served = await servedWorkflow(team)
    expect(await Promise.all([served.start('x').run.result, served.start('y').run.result])).toEqual([
      'one two',
      'one two',
    ])
  })
})

describe('the budget of a team', () => {
  test('counts what all members spend, and ends the run with them', async () => {
    const team = researchTeam({
      members: { a: named('a'), b: named('b'), writer: named('writer') },
      writer: 'writer',
      budget: { tokens: 20 },
    })
    await using served = await servedWorkflow(team)
    const watched = served.start('mills')
    await expect(watched.run.result).rejects.toMatchObject({ code: 'budget_exceeded' })
    await eventually(() => served.server.liveRuns === 0, 'all members settle')
  })
})

describe('a task', () => {
  test('tells its state, is paused and resumed, and once it has ended it stays so', async () => {
    const states: string[] = []
    const asked = latch()
    const member = actor({
      async *stream(_: unknown, { request }) {
        asked.open()
        yield String(await request({ kind: 'text', prompt: 'more?' }))
      },
    })
    const lead = actor({
      async *stream(_: unknown, context: ActorContext) {
        const tasks = new Tasks({ member }, context)
        expect(() => tasks.start('nobody', 'x')).toThrow('unknown member nobody; known members: member')
        const task = tasks.start('member', 'x')
        states.push(task.state)
        await asked.opened
        await new Promise((resolve) => setImmediate(resolve))
        states.push(task.state)
        task.govern({ paused: true })
        states.push(task.state)
        task.govern({ paused: false })
        states.push(task.state)
        expect(() => task.govern({ speed: 1 } as never)).toThrow('an order has paused, perSec, budget and agent')
        states.push(await task.cancel())
        expect(await task.cancel()).toBe('cancelled')
        expect(() => task.govern({ paused: true })).toThrow('the run has ended')
        states.push(task.state)
        await expect(task.result).rejects.toMatchObject({ code: 'cancelled' })
        yield* []
        return states
      },
    })
    await using served = await servedWorkflow(lead)
    expect(await served.start(null).run.result).toEqual([
      'running',
      'waiting',
      'paused',
      'waiting',
      'cancelled',
      'cancelled',
    ])
  })
})

describe('a definition of a team', () => {
  const a = named('a')
  test.each<[string, () => unknown, string]>([
    ['without members', () => pipelineTeam({ members: {} }), 'a team needs at least 1 members'],
    [
      'with an unknown judge',
      () => debateTeam({ members: { a, b: a, c: a }, judge: 'd' as never }),
      'judge of debateTeam() must be one of its members: a, b, c',
    ],
    ['with one side', () => debateTeam({ members: { a, b: a }, judge: 'a' }), 'a team needs at least 3 members'],
    [
      'with no rounds',
      () => debateTeam({ members: { a, b: a, c: a }, judge: 'a', rounds: 0 }),
      'rounds must be a whole number above 0',
    ],
    [
      'with an unknown writer',
      () => researchTeam({ members: { a, b: a }, writer: 'c' as never }),
      'writer of researchTeam() must be one',
    ],
    ['with a misspelt option', () => pipelineTeam({ members: { a }, budgets: {} } as never), 'did you mean budget?'],
    [
      'with a tool that is there',
      () => supervisorTeam({ members: { a }, tools: { hand_off: tool({ description: '', run: () => 1 }) } }),
      'has a tool hand_off already',
    ],
    ['with a member that no tool can be named after', () => supervisorTeam({ members: { 'a b': a } }), 'ask_a b'],
  ])('%s is refused when it is made', (_, make, message) => {
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })
})

test('an agent below another one is refused by a server that lacks its model, and closes what it keeps open', async () => {
  const model = scriptedModel(says('hi'))
  const below: [string, (member: Actor<AgentInput, undefined, never>) => Actor][] = [
    ['of a supervisor', (member) => supervisorTeam({ model, members: { member } })],
    ['of one that keeps the lead', (member) => supervisorTeam({ model, handOff: false, members: { member } })],
    ['as a tool', (member) => agent({ model, tools: { ask: agentTool(member, { description: 'asks' }) } })],
  ]
  for (const [where, above] of below) {
    const lacking = above(agent({ model: 'x:y' }))
    expect(() => createServer({ actors: { lacking }, authenticate: anonymous() }), where).toThrow('x:y')
    let closed = 0
    const close = async (): Promise<void> => {
      closed++
    }
    const open = { ...tool({ description: 'open', run: () => 1 }), close }
    await using served = await servedWorkflow(above(agent({ model, tools: { open } })))
    await served.server.close({ drainMs: 0 })
    expect(closed, where).toBe(1)
  }
})

test('a team of five agents with ten tools, watched by three clients: one branch is stopped, one paused and resumed, and the budget ends it', async () => {
  await using provider = await FakeProvider.start()
  await provider.behave('held', { hold: 'tokens' })
  const goOn = latch()
  const asked = new Map<string, () => number>()
  /** An agent with two tools of its own, of which each says who has it. */
  const withTools = (name: string, model: Model) =>
    agent({
      model,
      tools: {
        [`look_${name}`]: tool({ description: 'looks', run: () => `${name} saw it` }),
        [`listen_${name}`]: tool({ description: 'listens', run: () => `${name} heard it` }),
      },
    })
  const slow = (name: string, isHeld = goOn.opened) => {
    const model = scriptedModel(
      async function* ({ signal }: ModelRequest) {
        yield { type: 'text', text: `${name} ` }
        await Promise.race([isHeld, aborted(signal)])
        signal.throwIfAborted()
        yield* calls({ call: 'x', name: `look_${name}`, args: {} }, { call: 'y', name: `listen_${name}`, args: {} })
      },
      says(`of ${name}`),
    )
    asked.set(name, () => model.asked.length)
    return withTools(name, model)
  }
  const held = withTools('a', openai('held', { baseURL: provider.baseURL, apiKey: 'x', env: {} }))
  const writer = slow('writer', new Promise<void>(() => {}))
  const team = researchTeam({
    members: { a: held, b: slow('b'), c: slow('c'), d: slow('d'), writer },
    writer: 'writer',
    budget: { tokens: 100_000 },
  })
  await using served = await servedWorkflow(team)
  const watched = served.start('mills', { policy: 'pace' })
  const agentOf = async (name: string) =>
    (await watched.first('agent.start', (event) => event.name === name)).agent ?? ''
  const isDone = (name: string) =>
    watched.first('step', ({ id, status }) => id === `research/${name}` && status === 'done')
  const { id: request } = await provider.request('held')
  await Promise.all(['b', 'c', 'd'].map((name) => watched.first('token', ({ text }) => text === `${name} `)))
  const others = createClient(served.url, { token: 'alice' })
  const id = watched.run.id ?? ''
  const observers = (['log', 'latest'] as const).map(
    (policy) => new Watched(others.attach('work', id, { policy, after: 'start' })),
  )
  const receipt = await watched.run.cancel({ agent: await agentOf('research/a') })
  expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
  expect(await provider.closed(request)).toMatchObject({ whole: false })
  const paused = await agentOf('research/b')
  await watched.run.send('govern', { agent: paused, paused: true })
  goOn.open()
  // The request under way is not cut off, nor are its tools, and no other request follows in that branch.
  await Promise.all([isDone('c'), isDone('d')])
  await eventually(() => watched.all('tool.result').length === 6, 'the tools of all three are done')
  const times = () => Object.fromEntries([...asked].map(([name, all]) => [name, all()]))
  expect(times()).toEqual({ b: 1, c: 2, d: 2, writer: 0 })
  await watched.run.send('govern', { agent: paused, paused: false })
  await isDone('b')
  await watched.first('token', ({ text }) => text === 'writer ')
  expect(times()).toEqual({ b: 2, c: 2, d: 2, writer: 1 })
  expect(watched.all('tool.result').map(({ output }) => output)).toEqual(
    expect.arrayContaining(['b saw it', 'c heard it', 'd saw it']),
  )
  await watched.run.send('govern', { budget: { tokens: 50 } })
  await expect(watched.run.result).rejects.toMatchObject({ code: 'budget_exceeded' })
  for (const observer of observers) expect(await observer.over).toMatchObject({ code: 'budget_exceeded' })
  expect(observers[0]?.comparable).toEqual(watched.comparable)
  await eventually(() => served.server.liveRuns === 0, 'all members settle')
  await others.close()
})
