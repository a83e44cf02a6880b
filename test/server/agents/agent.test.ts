import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import type { RunEvent } from '../../../protocol/events.ts'
import type { ActorContext, RunInput, RunModel } from '../../../server/actors/actor.ts'
import { agent } from '../../../server/agents/agent.ts'
import type { AgentDefinition } from '../../../server/agents/agent-definition.ts'
import type { Model, ModelEvent, ModelRequest } from '../../../server/models/model.ts'

const FINISH: ModelEvent = { type: 'finish', stop: 'stop' }

/** A model that gives these events, and remembers its requests. */
function scripted(events: readonly (ModelEvent | Error)[]): Model & { asked: ModelRequest[] } {
  const asked: ModelRequest[] = []
  return {
    id: 'demo:scripted',
    provider: 'demo',
    asked,
    async *stream(request) {
      asked.push(request)
      for (const event of events) {
        if (event instanceof Error) throw event
        yield event
      }
    },
  }
}

/** What an agent without tools is given of a run: its signal and the server's models. */
function contextOf(
  known: ReadonlyMap<string | undefined, Model>,
  signal: AbortSignal,
  inputs: RunInput[],
): ActorContext {
  const context: Pick<
    ActorContext,
    'signal' | 'model' | 'tools' | 'takeInputs' | 'onInput' | 'refuseInputs' | 'checkpoint' | 'restored'
  > = {
    signal,
    takeInputs: () => inputs.splice(0),
    onInput: () => {},
    refuseInputs: () => {},
    checkpoint: () => {},
    restored: undefined,
    tools: () => ({
      claimId: (given: string) => given,
      specs: [],
      call: () => expect.unreachable('nobody calls a tool here'),
    }),
    model(which): RunModel {
      const model = typeof which === 'object' ? which : known.get(which)
      if (!model) throw new MillraceError('not_found', 'no such model')
      return {
        id: model.id,
        provider: model.provider,
        structured: model.structured ?? 'none',
        stream: (call) => model.stream({ ...call, signal }),
        text: () => expect.unreachable('an agent shows thinking and usage too'),
      }
    },
  }
  return context as ActorContext
}

async function run(
  definition: AgentDefinition,
  input: unknown,
  known: ReadonlyMap<string | undefined, Model> = new Map(),
  inputs: RunInput[] = [],
  said: (string | RunEvent)[] = [],
): Promise<{ said: (string | RunEvent)[]; result: unknown }> {
  const actor = agent(definition)
  const checked = await actor.input!['~standard'].validate(input)
  if (checked.issues) throw new MillraceError('invalid_input', checked.issues[0]!.message)
  const events = actor.stream!(checked.value as never, contextOf(known, new AbortController().signal, inputs))
  const iterator = events[Symbol.asyncIterator]()
  let item = await iterator.next()
  for (; !item.done; item = await iterator.next()) {
    if (typeof item.value === 'string' || !item.value.type.startsWith('iteration')) said.push(item.value)
  }
  return { said, result: item.value }
}

describe('an agent', () => {
  test('sends the text of its model, and returns nothing else', async () => {
    const model = scripted([{ type: 'text', text: 'Hel' }, { type: 'text', text: 'lo' }, FINISH])
    expect(await run({ model }, 'hi')).toEqual({ said: ['Hel', 'lo'], result: undefined })
  })

  test('passes on the events of its model that are not text', async () => {
    const usage: ModelEvent = { type: 'usage', input: 1, output: 2, cached: 1 }
    const warning: ModelEvent = { type: 'warning', code: 'malformed_line', message: 'a line was skipped' }
    const model = scripted([
      { type: 'retry', attempt: 1, delayMs: 10, code: 'provider_overloaded' },
      { type: 'thinking', text: 'hmm' },
      warning,
      { type: 'text', text: 'Yes.' },
      usage,
      FINISH,
    ])
    expect((await run({ model }, 'hi')).said).toEqual([
      { type: 'retry', attempt: 1, delayMs: 10, code: 'provider_overloaded', provider: 'demo' },
      { type: 'thinking', text: 'hmm' },
      warning,
      'Yes.',
      usage,
    ])
  })

  test.each([
    ['a string', 'hi', [{ role: 'user', content: 'hi' }]],
    ['a prompt', { prompt: 'hi' }, [{ role: 'user', content: 'hi' }]],
    [
      'messages',
      {
        messages: [
          { role: 'user', content: 'hi' },
          { role: 'assistant', content: 'yes?' },
          { role: 'user', content: 'well' },
        ],
      },
      [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'yes?' },
        { role: 'user', content: 'well' },
      ],
    ],
  ])('takes %s, behind its instructions', async (_form, input, messages) => {
    const model = scripted([FINISH])
    await run({ model, instructions: 'be brief' }, input)
    expect(model.asked[0]!.messages).toEqual([{ role: 'system', content: 'be brief' }, ...messages])
  })

  test.each([
    [undefined, 'an agent takes a prompt'],
    [7, 'an agent takes a prompt'],
    [{ ask: 'hi' }, 'an agent takes a prompt'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'an agent takes a prompt'],
    ['', '>=1 characters'],
    [{ prompt: '' }, '>=1 characters'],
    [{ messages: [] }, '>=1 items'],
    [{ prompt: 'hi', model: 'openai:gpt-5' }, 'Unrecognized key: "model"'],
  ])('refuses the input %j: %s', async (input, says) => {
    await expect(run({ model: scripted([FINISH]) }, input)).rejects.toThrow(says)
  })

  test('takes system messages from its input only where it says so', async () => {
    const messages = [
      { role: 'system', content: 'obey' },
      { role: 'user', content: 'hi' },
    ]
    const model = scripted([FINISH])
    await expect(run({ model }, { messages })).rejects.toThrow('system')
    await run({ model, allowSystem: true }, { messages })
    expect(model.asked.map((request) => request.messages)).toEqual([messages])
  })

  test('refuses a tool result in its input that answers no call', async () => {
    const calls = [{ call: 'a', name: 'add', args: {} }]
    const answer = (call: string): object => ({ role: 'tool', call, name: 'add', content: '3' })
    const go = { role: 'user', content: 'go' }
    const calling = { role: 'assistant', content: '', calls }
    const model = scripted([FINISH])
    for (const messages of [
      [go, answer('a')],
      [go, calling, answer('b')],
      [go, calling, answer('a'), answer('a')],
      [go, calling, go, answer('a')],
    ])
      await expect(run({ model }, { messages })).rejects.toThrow('answers no open call')
    await run({ model }, { messages: [go, calling, answer('a'), go] })
    expect(model.asked).toHaveLength(1)
  })

  test('refuses two calls of one id in a message of its input, which no answer could tell apart', async () => {
    const call = { call: 'a', name: 'add', args: {} }
    const messages = [
      { role: 'user', content: 'go' },
      { role: 'assistant', content: '', calls: [call, call] },
      { role: 'tool', call: 'a', name: 'add', content: '3' },
    ]
    await expect(run({ model: scripted([FINISH]) }, { messages })).rejects.toThrow('two calls of one message')
  })

  test.each([
    [[{ role: 'assistant', content: '' }]],
    [
      [
        { role: 'assistant', content: '', thinking: 'hm' },
        { role: 'assistant', content: '', calls: [] },
      ],
    ],
  ])('refuses messages that leave its model nothing to answer: %j', async (messages) => {
    const model = scripted([FINISH])
    await expect(run({ model, instructions: 'be brief' }, { messages })).rejects.toThrow('the messages say nothing')
    expect(model.asked).toEqual([])
  })

  test('warns about inputs of other types that came before its only turn, and takes the messages', async () => {
    const model = scripted([FINISH])
    const inputs = [
      { id: 'a', type: 'whatever', data: 1 },
      { id: 'b', type: 'message', data: 'shorter' },
    ]
    const { said } = await run({ model, maxIterations: 1 }, 'hi', new Map(), inputs)
    expect(said).toMatchObject([
      { type: 'warning', code: 'input_ignored' },
      { type: 'notice', code: 'input_taken', input: 'b', n: 1 },
    ])
    expect(model.asked[0]!.messages.at(-1)).toEqual({ role: 'user', content: 'shorter' })
  })

  test('uses the model of its id, or the default one of the server', async () => {
    const [named, fallback] = [scripted([FINISH]), scripted([FINISH])]
    const known = new Map<string | undefined, Model>([
      ['openai:x', named],
      [undefined, fallback],
    ])
    await run({ model: 'openai:x' }, 'hi', known)
    await run({}, 'hi', known)
    expect([named.asked.length, fallback.asked.length]).toEqual([1, 1])
    await expect(run({ model: 'openai:y' }, 'hi', known)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('fails with the error of its model, behind the text so far', async () => {
    const error = new MillraceError('truncated', 'broke off')
    const said: (string | RunEvent)[] = []
    const model = scripted([{ type: 'text', text: 'Hel' }, error])
    await expect(run({ model }, 'hi', undefined, undefined, said)).rejects.toBe(error)
    expect(said).toEqual(['Hel'])
  })
})
