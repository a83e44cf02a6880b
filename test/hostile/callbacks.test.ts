import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { type Actor, type ActorContext, actor } from '../../server/actors/actor.ts'
import type { StandardSchema } from '../../server/actors/standard-schema.ts'
import { tool } from '../../server/actors/tool.ts'
import { agent } from '../../server/agents/agent.ts'
import type { Authenticate } from '../../server/sessions/auth.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'

/** Waited for with `then`, and no promise: what a query builder hands out. */
function thenable(value: unknown): PromiseLike<never> {
  // biome-ignore lint/suspicious/noThenProperty: that is what it is about.
  return {
    then: (resolve: (value: unknown) => void) => void setImmediate(resolve, value),
  } as unknown as PromiseLike<never>
}

/** A promise of another realm: no `instanceof Promise` knows it. */
function foreignPromise(value: unknown): PromiseLike<never> {
  const resolve = runInNewContext('(value) => Promise.resolve(value)') as (value: unknown) => PromiseLike<never>
  return resolve(value)
}

/** An object one of whose properties cannot be read. */
function throwing(property: PropertyKey, others: object = {}): object {
  return Object.defineProperty({ ...others }, property, {
    enumerable: true,
    get() {
      throw new Error('this cannot be read')
    },
  })
}

describe('an asynchronous answer of authenticate', () => {
  const waits = {
    'a thenable': thenable,
    'a promise of another realm': foreignPromise,
    'a promise': Promise.resolve.bind(Promise),
  }

  test.each(Object.entries(waits))('refuses the client when it becomes undefined: %s', async (_, later) => {
    await using served = await testServer({ silent: silent() }, { authenticate: () => later(undefined) as never })
    await using client = await served.client({ hello: 'unanswered' })
    client.start(1, 'silent')
    expect(await client.closed).toBe(4401)
    expect(client.frames.map(({ kind }) => kind)).toEqual(['notice'])
    expect(served.server.liveRuns).toBe(0)
  })

  test.each(Object.entries(waits))('lets the client in when it becomes a principal: %s', async (_, later) => {
    const who = actor({ ask: (_: unknown, { principal }) => principal.id })
    await using served = await testServer({ who }, { authenticate: () => later({ id: 'alice' }) as never })
    await using client = await served.client()
    client.start(1, 'who')
    await client.next('end')
    expect(client.text(1)).toBe('alice')
  })
})

/** Each is answered with, or thrown, as the row says. */
const noIdentities: [what: string, answer: () => unknown][] = [
  ['true', () => true],
  ['a number', () => 7],
  ['text', () => 'alice'],
  ['a function', () => () => ({ id: 'alice' })],
  ['an empty object', () => ({})],
  ['an id that is a number', () => ({ id: 7 })],
  ['an id that is empty', () => ({ id: '' })],
  ['an id that is an object', () => ({ id: { toString: () => 'alice' } })],
  ['an id that cannot be read', () => throwing('id')],
  ['rights that are text', () => ({ id: 'alice', rights: 'may-not-observe' })],
  ['rights that are no texts', () => ({ id: 'alice', rights: [7] })],
  ['rights that are null', () => ({ id: 'alice', rights: null })],
  ['rights that are an object', () => ({ id: 'alice', rights: { observe: true } })],
  ['an expiry that is a BigInt', () => ({ id: 'alice', expiresAt: 5n })],
  ['an expiry that is no number', () => ({ id: 'alice', expiresAt: Number.NaN })],
  ['an expiry that is text', () => ({ id: 'alice', expiresAt: '2030-01-01' })],
  ['an expiry that is a Date', () => ({ id: 'alice', expiresAt: new Date() })],
  ['an expiry that never comes', () => ({ id: 'alice', expiresAt: Number.POSITIVE_INFINITY })],
  ['an expiry that cannot be read', () => throwing('expiresAt', { id: 'alice' })],
  ['a `then` that cannot be read', () => throwing('then', { id: 'alice' })],
  ['a revoked proxy', () => revoked()],
]

describe('an answer of authenticate that is no principal closes the connection 1011 and is reported', () => {
  test.each(noIdentities)('at once: %s', async (_, answer) => {
    await expectNobodyComesIn(answer as Authenticate)
  })

  test.each(noIdentities)('later: %s', async (_, answer) => {
    await expectNobodyComesIn(async () => {
      await Promise.resolve()
      return answer() as never
    })
  })

  test('by a thenable whose `then` throws', async () => {
    await expectNobodyComesIn(() => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what it is about.
      then() {
        throw new Error('no')
      },
    }))
  })
})

async function expectNobodyComesIn(authenticate: Authenticate): Promise<void> {
  let asked = 0
  const once: Authenticate = (credentials) => (asked++ === 0 ? authenticate(credentials) : { id: 'bob' })
  await using served = await testServer({ silent: silent() }, { authenticate: once })
  await using client = await served.client({ hello: 'unanswered' })
  client.start(1, 'silent')
  expect(await client.closed).toBe(1011)
  expect(client.frames).toEqual([])
  expect(served.server.liveRuns).toBe(0)
  expect(served.errors).toHaveLength(1)
  await using next = await served.client()
  await next.settle()
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** What a schema may answer with in place of a result. */
const noResults: [what: string, answer: () => unknown][] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['false', () => false],
  ['text', () => 'ok'],
  ['issues that are text', () => ({ issues: 'no' })],
  ['issues that are no objects', () => ({ issues: [null] })],
  ['issues that cannot be read', () => throwing('issues')],
  ['a value that cannot be read', () => throwing('value')],
  ['an issue that cannot be read', () => ({ issues: [throwing('message')] })],
]

function schemaOf(validate: (value: unknown) => unknown): StandardSchema {
  return { '~standard': { version: 1, vendor: 'test', validate: validate as never } }
}

describe('a schema', () => {
  const waits = {
    'a thenable': thenable,
    'a promise of another realm': foreignPromise,
    'a promise': Promise.resolve.bind(Promise),
  }

  test.each(Object.entries(waits))('that is asynchronous can refuse the input: %s', async (_, later) => {
    let ran = 0
    const never = actor({
      input: schemaOf(() => later({ issues: [{ message: 'never valid' }] })),
      ask: () => ++ran,
    })
    await using served = await testServer({ never })
    await using client = await served.client()
    client.start(1, 'never')
    expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'invalid_input' } })
    expect(ran).toBe(0)
  })

  test.each(noResults)('that answers with no result ends the run, not the process: %s', async (_, answer) => {
    await expectRunFails(actor({ input: schemaOf(answer), ask: () => 'never' }), 'internal')
  })

  test.each(noResults)('that answers later with no result ends the run, not the process: %s', async (_, answer) => {
    const later = schemaOf(async () => {
      await Promise.resolve()
      return answer()
    })
    await expectRunFails(actor({ input: later, ask: () => 'never' }), 'actor_failed')
  })
})

/** A run of `failing` ends with `code` and the reason is reported; another run of the same server goes on. */
async function expectRunFails(failing: Actor, code: string, reports = 1): Promise<void> {
  await using served = await testServer({ failing, silent: silent() })
  await using client = await served.client()
  client.start(1, 'silent')
  client.start(2, 'failing')
  expect(await client.next('end', 2)).toMatchObject({ outcome: 'error', data: { code } })
  await client.settle()
  expect(served.errors).toHaveLength(reports)
  await eventually(() => served.server.liveRuns === 1, 'only the other run is live')
  client.send({ kind: 'cancel', sid: 1 })
  expect(await client.next('end', 1)).toMatchObject({ outcome: 'cancelled' })
}

/** Iterators whose first step is no step. */
const noSteps: [what: string, next: () => unknown][] = [
  ['`done` cannot be read', () => Promise.resolve(throwing('done'))],
  ['`value` cannot be read', () => Promise.resolve(throwing('value', { done: false }))],
  ['`value` of the last step cannot be read', () => Promise.resolve(throwing('value', { done: true }))],
  ['it is a revoked proxy', () => Promise.resolve(revoked())],
  ['it is undefined', () => Promise.resolve(undefined)],
  ['it is no promise', () => ({ done: true })],
  [
    'it throws',
    () => {
      throw new Error('no step')
    },
  ],
  [
    'it is a thenable that throws',
    () => ({
      then() {
        throw new Error('no')
      },
    }),
  ],
]

describe('an iterator of an actor that returns something else than a step', () => {
  test.each(noSteps)('ends its run, not the process: %s', async (_, next) => {
    const failing = actor({ stream: () => ({ [Symbol.asyncIterator]: () => ({ next }) }) as never })
    await expectRunFails(failing, 'actor_failed')
  })
})

/** What is no iterator. */
const noIterators: [what: string, iterator: () => unknown][] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['text', () => 'abc'],
  ['an object without `next`', () => ({})],
  ['an object whose `next` is no function', () => ({ next: true })],
  ['an object whose `next` cannot be read', () => throwing('next')],
  ['a promise of an iterator', () => Promise.resolve({ next: () => Promise.resolve({ done: true }) })],
  ['a revoked proxy', revoked],
]

describe('a stream whose iterator is none', () => {
  test.each(noIterators)('ends its run at once, not the process: %s', async (_, iterator) => {
    await expectRunFails(actor({ stream: () => ({ [Symbol.asyncIterator]: iterator }) as never }), 'actor_failed')
  })
})

/** Clean-ups that are none, or fail. */
const cleanUps: [what: string, iterator: object][] = [
  ['null', { return: null }],
  ['no function', { return: true }],
  ['unreadable', throwing('return')],
  ['a function that returns nothing', { return: () => undefined }],
]

describe('an iterator whose `return` is unusual', () => {
  test.each(cleanUps)('leaves no slot taken when its run is cancelled: %s', async (_, iterator) => {
    const steps = { next: () => Promise.resolve({ done: false, value: 'x' }) }
    const made = Object.defineProperties(steps, Object.getOwnPropertyDescriptors(iterator))
    const odd = actor({ stream: () => ({ [Symbol.asyncIterator]: () => made }) as never })
    await using served = await testServer({ odd })
    await using client = await served.client()
    client.start(1, 'odd')
    await client.until(() => client.count(1) > 0)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await eventually(() => served.server.liveRuns === 0, 'its slot is free')
  })
})

/** Whatever can be thrown. */
const thrown: [what: string, thing: () => unknown][] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['a symbol', () => Symbol('x')],
  ['an object without prototype', () => Object.create(null) as object],
  ['an Error whose name is a symbol', () => Object.assign(new Error('x'), { name: Symbol('x') })],
  [
    'an Error whose name cannot be read',
    () =>
      Object.defineProperty(new Error('x'), 'name', {
        get: () => {
          throw new Error('no')
        },
      }),
  ],
  ['an Error without constructor', () => Object.setPrototypeOf(new Error('x'), null) as object],
  ['an Error whose constructor is undefined', () => Object.assign(new Error('x'), { constructor: undefined })],
  [
    'an Error whose message cannot be read',
    () =>
      Object.defineProperty(new Error('x'), 'message', {
        get: () => {
          throw new Error('no')
        },
      }),
  ],
  [
    'a proxy that answers nothing',
    () =>
      new Proxy(new Error('x'), {
        get: () => {
          throw new Error('no')
        },
        getPrototypeOf: () => {
          throw new Error('no')
        },
      }),
  ],
  ['a revoked proxy', revoked],
  ['an Error whose stack is a BigInt', () => Object.assign(new Error('x'), { stack: 5n })],
  ['an Error whose stack is a symbol', () => Object.assign(new Error('x'), { stack: Symbol('x') })],
  ['an Error that says nothing', () => Object.assign(new Error('x'), { stack: undefined, message: undefined })],
  [
    'a foreign error that is called MillraceError',
    () => Object.assign(new Error('x'), { name: 'MillraceError', code: 'timeout' }),
  ],
  [
    'a foreign MillraceError whose message cannot be read',
    () =>
      Object.defineProperty(
        Object.assign(new Error('x'), { name: 'MillraceError', code: 'timeout', toJSON: () => ({}) }),
        'message',
        {
          get: () => {
            throw new Error('no')
          },
        },
      ),
  ],
  [
    'a foreign MillraceError whose toJSON throws',
    () =>
      Object.assign(new Error('x'), {
        name: 'MillraceError',
        code: 'timeout',
        toJSON: () => {
          throw new Error('no')
        },
      }),
  ],
  [
    'a foreign MillraceError whose toJSON is no error',
    () => Object.assign(new Error('x'), { name: 'MillraceError', code: 'timeout', toJSON: () => null }),
  ],
]

describe('a thrown value ends its run, not the process, when it is thrown', () => {
  test.each(thrown)('by an actor: %s', async (_, thing) => {
    const failing = actor({
      async *stream() {
        yield 'x'
        throw thing()
      },
    })
    await expectOneEnd(failing)
  })

  test.each(thrown)('by the clean-up of an actor after a stop: %s', async (_, thing) => {
    const failing = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        try {
          yield 'x'
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: that is what it is about.
          throw thing()
        }
      },
    })
    await using served = await testServer({ failing })
    await using client = await served.client()
    client.start(1, 'failing')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await eventually(() => served.server.liveRuns === 0, 'its slot is free')
  })

  test.each(thrown)('by a tool: %s', async (_, thing) => {
    const broken = tool({
      description: 'breaks',
      run: () => {
        throw thing()
      },
    })
    const failing = actor({
      async *stream(_: unknown, context: ActorContext) {
        const { outcome } = await context.tools({ broken }).call({ call: 'c1', name: 'broken', args: {} })
        yield outcome
      },
    })
    await using served = await testServer({ failing })
    await using client = await served.client()
    client.start(1, 'failing')
    expect(await client.next('end')).toMatchObject({ outcome: 'done' })
    expect(client.text(1)).toBe('error')
  })

  test.each(thrown)('by a child that its parent waits for: %s', async (_, thing) => {
    const child = actor({
      async *stream() {
        yield 'x'
        throw thing()
      },
    })
    await expectOneEnd(actor({ stream: (_: unknown, { spawn }: ActorContext) => spawn(child, undefined) }))
  })

  test.each(thrown)('by a model: %s', async (_, thing) => {
    const model = {
      id: 'demo:broken',
      provider: 'demo',
      async *stream() {
        yield { type: 'text', text: 'x' } as const
        throw thing()
      },
    }
    await expectOneEnd(agent({ model }), 'hello')
  })

  test.each(thrown)('by onFinish of an agent: %s', async (_, thing) => {
    const model = {
      id: 'demo:fine',
      provider: 'demo',
      async *stream() {
        yield { type: 'text', text: 'x' } as const
        yield { type: 'finish', stop: 'stop' } as const
      },
    }
    const onFinish = (): void => {
      throw thing()
    }
    await expectOneEnd(agent({ model, onFinish }), 'hello')
  })

  test.each(thrown)('by onError, which is called for another failure: %s', async (_, thing) => {
    using stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const failing = actor({
      ask: () => {
        throw new Error('the first failure')
      },
    })
    const now = (): never => {
      throw thing()
    }
    for (const onError of [now, async () => now()]) {
      await using served = await testServer({ failing }, { onError })
      await using client = await served.client()
      client.start(1, 'failing')
      expect(await client.next('end')).toMatchObject({ outcome: 'error', data: { code: 'actor_failed' } })
      await client.settle()
    }
    expect(stderr).toHaveBeenCalledTimes(2)
  })
})

/** A run of `failing` has one end, an error, and gives its slot back. */
async function expectOneEnd(failing: Actor, input: unknown = null): Promise<void> {
  await using served = await testServer({ failing })
  await using client = await served.client()
  client.start(1, 'failing', input)
  expect(await client.next('end')).toMatchObject({ outcome: 'error' })
  await eventually(() => served.server.liveRuns === 0, 'its slot is free')
  await client.settle()
  expect(client.frames.filter(({ kind }) => kind === 'end')).toHaveLength(1)
}

describe('an invalid principal is refused where it is given', () => {
  test.each([{ id: '' }, { id: 7 }, {}, null, { id: 'a', rights: 'observe' }])(
    'to the router: %j',
    async (principal) => {
      await using served = await testServer({ silent: silent() })
      const asked = served.server.router.ask('silent', undefined, { principal: principal as never })
      await expect(asked).rejects.toMatchObject({ code: 'bad_request' })
    },
  )
})
