import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../../protocol/limits.ts'
import { actor, agent, anonymous, createServer, demo, type Model, memory, tool } from '../../server/index.ts'
import { ollama } from '../../server/models/ollama.ts'
import { openai } from '../../server/models/openai.ts'
import { bearer } from '../../server/sessions/auth.ts'

const echo = actor({ ask: (input: unknown) => String(input) })
const usual = { actors: { echo }, authenticate: bearer({ secret: 'alice' }) }
const made = (options: object): (() => unknown) => {
  return () => createServer({ ...usual, ...options })
}
const refusal = (act: () => unknown): unknown => {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error('nothing was refused')
}

describe('a misspelt option is refused with the name that was meant', () => {
  const run = (): string => ''
  test.each<[string, () => unknown, string]>([
    ['createServer', made({ orgins: [] }), 'unknown option orgins of createServer; did you mean origins?'],
    ['createServer', made({ onerror: () => {} }), 'unknown option onerror of createServer; did you mean onError?'],
    ['createServer', made({ auth: () => {} }), 'unknown option auth of createServer; did you mean authenticate?'],
    ['createServer', made({ mdoels: [] }), 'unknown option mdoels of createServer; did you mean models?'],
    ['createServer', made({ orgins: undefined }), 'unknown option orgins of createServer; did you mean origins?'],
    ['limits', made({ limits: { maxStream: 5 } }), 'unknown limit maxStream; did you mean maxStreams?'],
    ['agent', () => agent({ tool: {} } as never), 'unknown option tool of agent(); did you mean tools?'],
    [
      'agent',
      () => agent({ maxIteration: 5 } as never),
      'unknown option maxIteration of agent(); did you mean maxIterations?',
    ],
    [
      'openai',
      () => openai('m', { baseUrl: 'http://x' } as never),
      'unknown option baseUrl of openai(); did you mean baseURL?',
    ],
    [
      'ollama',
      () => ollama('m', { keepalive: '10m' } as never),
      'unknown option keepalive of ollama(); did you mean keepAlive?',
    ],
    [
      'ollama',
      () => ollama('m', { baseURL: 'http://x' } as never),
      'unknown option baseURL of ollama(); known options: id, headers, maxRetries, timeouts, fetch, thinkTags, env, runtime, host, think, options, keepAlive, format',
    ],
    [
      'demo',
      () => demo({ tokensPerSecond: 5 } as never),
      'unknown option tokensPerSecond of demo(); did you mean tokensPerSec?',
    ],
    ['actor', () => actor({ steam: run } as never), 'unknown option steam of actor(); did you mean stream?'],
    [
      'tool',
      () => tool({ description: 'x', run, timeout: 5 } as never),
      'unknown option timeout of tool(); did you mean timeoutMs?',
    ],
  ])('%s: %#', (_, act, message) => {
    expect(refusal(act)).toMatchObject({ name: 'MillraceError', code: 'bad_request', message })
  })

  test('and one that is near to none, with all names there are', () => {
    expect(made({ cors: true })).toThrow(
      'unknown option cors of createServer; known options: actors, authenticate, authorize, models,',
    )
    expect(made({ toString: 5 })).toThrow('unknown option toString of createServer; known options: actors,')
    expect(() => resolveLimits({ toString: 5 } as never)).toThrow('unknown limit toString; known limits: ')
  })

  test.each([
    ['bearer', bearer],
    ['anonymous', anonymous],
  ])('and %s that was not called is one too', (_, maker) => {
    expect(made({ authenticate: maker })).toThrow('call it')
  })

  test('of close, and the server goes on', async () => {
    const transport = memory()
    await using server = createServer({ ...usual, transport })
    await server.listen()
    const closed = server.close({ drainMS: 0 } as never)
    await expect(closed).rejects.toMatchObject({
      code: 'bad_request',
      message: 'unknown option drainMS of close; did you mean drainMs?',
    })
    expect(await server.router.ask('echo', 1)).toBe('1')
  })

  test('of a call through the router', async () => {
    await using server = createServer({ ...usual, transport: memory() })
    const message = 'unknown option timeoutMs of router.ask; did you mean timeout?'
    await expect(server.router.ask('echo', 1, { timeoutMs: 5 } as never)).rejects.toMatchObject({ message })
    const events = server.router.stream('echo', 1, { principle: { id: 'a' } } as never)
    await expect(events[Symbol.asyncIterator]().next()).rejects.toThrow('did you mean principal?')
    const collected = server.router.streamAsk('echo', 'ask', 1, { onchunk: () => {} } as never)
    await expect(collected).rejects.toThrow('did you mean onChunk?')
  })
})

describe('an option of the wrong kind is refused', () => {
  test.each<[string, () => unknown, string | RegExp]>([
    ['no options', () => createServer(undefined as never), 'createServer needs an object of options'],
    ['authenticate', made({ authenticate: 'yes' }), 'authenticate must be a function'],
    ['no authenticate', made({ authenticate: undefined }), 'createServer needs `authenticate`'],
    ['actors', made({ actors: [] }), 'actors must be an object'],
    ['no actors', made({ actors: {} }), 'createServer needs at least one actor'],
    ['actors left out', made({ actors: undefined }), 'createServer needs at least one actor'],
    ['an actor', made({ actors: { a: async () => {} } }), 'actors.a is not an actor: make it with actor()'],
    ['an actor that is null', made({ actors: { a: null } }), 'actors.a is not an actor'],
    ['models', made({ models: demo() }), 'models must be a list'],
    ['a model', made({ models: [{ id: 'x' }] }), 'a model must have an `id` and `stream`'],
    ['a model that is its factory', made({ defaultModel: demo }), 'defaultModel must be an object'],
    ['a transport that is its factory', made({ transport: memory }), 'transport must be an object'],
    ['a transport', made({ transport: {} }), 'transport must be a transport, such as ws()'],
    ['origins', made({ origins: 'https://app.example' }), 'origins must be a list of strings'],
    ['limits', made({ limits: 5 }), 'limits must be an object'],
    ['onError', made({ onError: console }), 'onError must be a function'],
    ['runtime', made({ runtime: 5 }), 'runtime must be an object'],
    ['instructions of an agent', () => agent({ instructions: 5 } as never), 'instructions must be a string'],
    ['a model of an agent', () => agent({ model: demo } as never), 'model must be a string or an object'],
    ['tools of an agent', () => agent({ tools: [] } as never), 'tools must be an object'],
    ['run of a tool', () => tool({ description: 'x' } as never), 'a tool needs `run`'],
    ['the limit of a tool', () => tool({ description: 'x', run: () => '', timeoutMs: '5' } as never), /timeoutMs must/],
    ['an actor without both', () => actor({}), 'an actor needs `ask`'],
  ])('%s', (_, act, message) => {
    const error = refusal(act)
    expect(error).toMatchObject({ name: 'MillraceError', code: 'bad_request' })
    expect((error as Error).message).toMatch(message)
  })

  test('but one that is undefined counts as left out', async () => {
    const none = { models: undefined, limits: undefined, origins: undefined, name: undefined, logger: undefined }
    await using server = createServer({ ...usual, ...none, transport: memory() })
    expect(server.connections).toBe(0)
    agent({ instructions: undefined, tools: undefined, maxIterations: undefined })
    tool({ description: 'x', run: () => '', timeoutMs: undefined })
  })
})

describe('an agent whose model the server does not have is known when the server is made:', () => {
  const authenticate = anonymous()
  const refusing: Model = { ...demo(), id: 'test:other' }

  test.each<[string, () => unknown, string]>([
    [
      'no model at all',
      () => createServer({ actors: { chat: agent({}) }, authenticate }),
      'actors.chat: no model: give the agent one (model: openai(...)), or the server a defaultModel; known models: none',
    ],
    [
      'several models and no default',
      () => createServer({ actors: { chat: agent({}) }, models: [demo(), refusing], authenticate }),
      'actors.chat: no model: give the agent one (model: openai(...)), or the server a defaultModel; known models: demo, test:other',
    ],
    [
      'an unknown id',
      () => createServer({ actors: { echo, poet: agent({ model: 'dmeo' }) }, models: [demo()], authenticate }),
      'actors.poet: unknown model dmeo; known models: demo',
    ],
    [
      'an object that is no model',
      () => createServer({ actors: { chat: agent({ model: {} as never }) }, authenticate }),
      'a model must have an `id` and `stream`',
    ],
  ])('%s', (_, act, message) => {
    const error = refusal(act)
    expect(error).toMatchObject({ name: 'MillraceError', code: 'bad_request' })
    expect((error as Error).message).toContain(message)
  })

  test('one that has it is served: by default, by id, as the only model, and as an object', async () => {
    const actors = { one: agent({}), two: agent({ model: 'demo' }), three: agent({ model: refusing }) }
    await using server = createServer({ actors, models: [demo()], authenticate, transport: memory() })
    for (const name of ['one', 'two', 'three'] as const) expect(await server.router.ask(name, 'hi')).not.toBe('')
  })
})
