import { describe, expect, test } from 'vitest'
import { InspectorState, type InspectorUpdate } from '../../../protocol/inspector.ts'
import { actor } from '../../../server/actors/actor.ts'
import type { Action, Authorize, Target } from '../../../server/actors/authorize.ts'
import { inspector } from '../../../server/inspector/inspector.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { defaultAuthorize } from '../../../server/sessions/permissions.ts'
import { testServer } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

/** Asks for an approval, takes messages, and goes on until it is stopped. */
const asks = actor({
  interactive: true,
  async *stream(_: unknown, { request, signal }) {
    yield 'secret'
    void request({ kind: 'confirm', prompt: 'ok?' }).catch(() => {})
    await aborted(signal)
  },
})
const hello = actor({ ask: () => 'hello' })
const actors = { asks, hello, inspector: inspector() }

/** Everybody of the matrix but those without credentials. */
const people = bearer({
  alice: 'alice',
  bob: 'bob',
  eve: { id: 'eve', rights: ['observe'] },
  olga: { id: 'olga', rights: ['observe', 'cancel'] },
})
const WHO = { owner: 'alice', other: 'bob', observer: 'eve', operator: 'olga' } as const
type Who = keyof typeof WHO

/** What a surface answers: it does it, it says no, or it says that there is no such run. */
type Answer = 'yes' | 'forbidden' | 'not_found'

/** A way to the run of alice, the action that it asks for, and what it answers without an authorize. */
type Surface = {
  readonly action: Action
  readonly expected: Record<Who, Answer>
  ask(client: WireClient, run: string): Promise<Answer>
}

/** What an attach as stream `sid` answers. */
async function attached(client: WireClient, sid: number, run: string, policy: 'log' | 'pace' = 'log'): Promise<Answer> {
  client.attach(sid, run, 0, { policy })
  const frame = await client.find(
    (one) => 'sid' in one && one.sid === sid && (one.kind === 'opened' || one.kind === 'end'),
  )
  return frame.kind === 'end' ? (frame.data as { code: Answer }).code : 'yes'
}

/** The answer to a frame on an attached stream: a NOTICE that refuses it, or the frame that `does` finds. */
async function answered(
  client: WireClient,
  run: string,
  send: () => void,
  does: Parameters<WireClient['find']>[0],
): Promise<Answer> {
  const opened = await attached(client, 50, run)
  if (opened !== 'yes') return opened
  send()
  const frame = await client.find((one) => one.kind === 'notice' || does(one))
  return frame.kind === 'notice' ? (frame.code as Answer) : 'yes'
}

const input = (client: WireClient, type: string, data: unknown) => () =>
  client.send({ kind: 'input', sid: 50, mid: type, type, data })

const acked: Parameters<WireClient['find']>[0] = (one) => one.kind === 'input_ack'

const SURFACES: { readonly [surface: string]: Surface } = {
  'ATTACH, to read': {
    action: 'attach',
    expected: { owner: 'yes', other: 'not_found', observer: 'yes', operator: 'yes' },
    ask: (client, run) => attached(client, 40, run),
  },
  'ATTACH, to pace': {
    action: 'govern',
    expected: { owner: 'yes', other: 'not_found', observer: 'forbidden', operator: 'forbidden' },
    ask: (client, run) => attached(client, 40, run, 'pace'),
  },
  'INPUT, a message': {
    action: 'input',
    expected: { owner: 'yes', other: 'not_found', observer: 'forbidden', operator: 'forbidden' },
    ask: (client, run) => answered(client, run, input(client, 'message', 'hi'), acked),
  },
  'INPUT, an answer': {
    action: 'approve',
    expected: { owner: 'yes', other: 'not_found', observer: 'forbidden', operator: 'forbidden' },
    ask: (client, run) => answered(client, run, input(client, 'answer', { request: 'q1', value: true }), acked),
  },
  'INPUT, an approval': {
    action: 'approve',
    expected: { owner: 'yes', other: 'not_found', observer: 'forbidden', operator: 'forbidden' },
    ask: (client, run) => answered(client, run, input(client, 'approve', { request: 'q1', ok: true }), acked),
  },
  'CANCEL of the run': {
    action: 'cancel',
    expected: { owner: 'yes', other: 'not_found', observer: 'forbidden', operator: 'yes' },
    ask: (client, run) =>
      answered(
        client,
        run,
        () => client.send({ kind: 'cancel', sid: 50 }),
        (one) => one.kind === 'end' && one.sid === 50 && one.outcome === 'cancelled',
      ),
  },
  'CANCEL of a tool call': {
    action: 'cancel',
    // There is no such call: only those who may cancel are told.
    expected: { owner: 'not_found', other: 'not_found', observer: 'forbidden', operator: 'not_found' },
    ask: (client, run) =>
      answered(
        client,
        run,
        () => client.send({ kind: 'cancel', sid: 50, target: { type: 'call', id: 'c1' } }),
        () => false,
      ),
  },
  'the list of an inspector': {
    action: 'inspect',
    expected: { owner: 'yes', other: 'not_found', observer: 'yes', operator: 'yes' },
    async ask(client, run) {
      client.start(60, 'inspector', { once: true, everyMs: 100 })
      await client.next('end', 60)
      const state = new InspectorState()
      for (const frame of client.frames)
        if (frame.kind === 'event' && frame.sid === 60) state.take((frame.data as { value: InspectorUpdate }).value)
      return state.runs.has(run) ? 'yes' : 'not_found'
    },
  },
}

/** A server on which alice has a run that asks something. */
async function withRun(authorize?: Authorize) {
  const served = await testServer(actors, { authenticate: people, ...(authorize ? { authorize } : {}) })
  const alice = await served.client()
  alice.start(1, 'asks', null, { key: 'k' })
  const { run } = await alice.next('opened')
  await alice.until(() => alice.count(1) >= 2)
  return { served, alice, run }
}

const cells = Object.entries(SURFACES).flatMap(([name, surface]) =>
  (Object.keys(WHO) as Who[]).map((who) => [name, who, surface.expected[who], surface] as const),
)

describe('without an authorize of its own, a server answers', () => {
  test.each(cells)('%s of %s with %s', async (_, who, expected, surface) => {
    const { served, run } = await withRun()
    await using _served = served
    await using client = await served.client({ auth: WHO[who] })
    expect(await surface.ask(client, run)).toBe(expected)
  })

  test('everything of somebody without credentials with 4401', async () => {
    const { served, run } = await withRun()
    await using _served = served
    await using client = await served.client({ auth: 'nobody', hello: 'unanswered' })
    client.start(1, 'hello')
    client.attach(2, run, 0)
    client.send({ kind: 'cancel', sid: 2 })
    expect(await client.closed).toBe(4401)
    expect(client.frames.map(({ kind }) => kind)).toEqual(['notice'])
    expect(served.server.liveRuns).toBe(1)
  })

  test('START of anybody with a run, and the same key of two people with two runs', async () => {
    const { served, run } = await withRun()
    await using _served = served
    for (const auth of Object.values(WHO)) {
      await using client = await served.client({ auth })
      client.start(1, 'asks', null, { key: 'k' })
      expect((await client.next('opened')).run === run).toBe(auth === 'alice')
    }
  })

  test('a run of another principal exactly as a missing one, on every surface that names one', async () => {
    const { served, run } = await withRun()
    await using _served = served
    await using bob = await served.client({ auth: 'bob' })
    const missing = run.slice(0, -4) + (run.endsWith('AAAA') ? 'BBBB' : 'AAAA')
    const answers: unknown[] = []
    for (const [i, id] of [run, missing].entries()) {
      const answered: unknown[] = []
      for (const [j, policy] of (['log', 'pace', 'latest'] as const).entries()) {
        const sid = 1 + 3 * i + j
        bob.attach(sid, id, 0, { policy })
        const { kind, seq, outcome, data } = await bob.next('end', sid)
        answered.push({ kind, seq, outcome, data })
      }
      answers.push(answered)
    }
    expect(answers[0]).toEqual(answers[1])
  })
})

describe('an authorize of the application', () => {
  test('is asked by every surface, with who, what and which run', async () => {
    const asked: [string, Action, Target][] = []
    const { served, run } = await withRun((principal, action, target) => {
      asked.push([principal.id, action, target])
      return defaultAuthorize(principal, action, target)
    })
    await using _served = served
    expect(asked).toEqual([['alice', 'start', { type: 'actor', actor: 'asks' }]])
    for (const [name, { action, ask }] of Object.entries(SURFACES)) {
      await using client = await served.client({ auth: 'eve' })
      asked.length = 0
      await ask(client, run)
      const target: Target =
        action === 'inspect' ? { type: 'server' } : { type: 'run', run, actor: 'asks', owner: { id: 'alice' } }
      // She reads the run of another.
      expect(asked, name).toContainEqual(['eve', action === 'attach' ? 'observe' : action, target])
    }
    await served.server.router.ask('hello', null, { principal: { id: 'carol' } })
    expect(asked.at(-1)).toEqual(['carol', 'start', { type: 'actor', actor: 'hello' }])
  })

  test.each(Object.entries(SURFACES))('that refuses it is obeyed, also for the owner: %s', async (_, surface) => {
    const { served, run } = await withRun(
      (principal, action, target) => action !== surface.action && defaultAuthorize(principal, action, target),
    )
    await using _served = served
    await using client = await served.client()
    expect(['forbidden', 'not_found']).toContain(await surface.ask(client, run))
    expect(served.server.liveRuns).toBe(1)
  })

  test.each(Object.entries(SURFACES))('that allows everything opens it to anybody: %s', async (_, surface) => {
    const { served, run } = await withRun(() => true)
    await using _served = served
    await using client = await served.client({ auth: 'bob' })
    expect(await surface.ask(client, run)).toBe(surface.expected.owner)
  })

  test('may refuse to start an actor, to clients and to the router, but not to the server itself', async () => {
    await using served = await testServer(actors, {
      authorize: (principal, action) => action !== 'start' || principal.id === 'alice',
    })
    await using bob = await served.client({ auth: 'bob' })
    bob.start(1, 'hello')
    expect(await bob.next('end')).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'forbidden' } })
    const { router } = served.server
    await expect(router.ask('hello', null, { principal: { id: 'bob' } })).rejects.toMatchObject({ code: 'forbidden' })
    expect(await router.ask('hello', null, { principal: { id: 'alice' } })).toBe('hello')
    expect(await router.ask('hello', null)).toBe('hello')
    expect(served.server.liveRuns).toBe(0)
  })

  test('sees what authenticate said once, whatever becomes of that object', async () => {
    const given: { id: string; rights: 'observe'[] } = { id: 'bob', rights: [] }
    await using served = await testServer(actors, {
      authenticate: (credentials) => (credentials.auth === 'alice' ? { id: 'alice' } : given),
    })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'asks')
    const { run } = await alice.next('opened')
    given.rights.push('observe')
    given.id = 'alice'
    expect(await attached(bob, 1, run)).toBe('not_found')
  })

  test('cannot be led on by an identity whose getters change their minds', async () => {
    let reads = 0
    await using served = await testServer(actors, {
      authenticate: ({ auth }) =>
        auth === 'alice'
          ? { id: 'alice' }
          : {
              get id() {
                return reads++ === 0 ? 'bob' : 'alice'
              },
            },
    })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'asks')
    const { run } = await alice.next('opened')
    expect(await attached(bob, 1, run)).toBe('not_found')
    expect(reads).toBe(1)
  })
})

/** What an authorize may do in place of returning a boolean. */
const noAnswers: [what: string, answer: () => unknown][] = [
  ['returns undefined', () => undefined],
  ['returns null', () => null],
  ['returns 1', () => 1],
  ['returns text', () => 'yes'],
  ['returns an object', () => ({ ok: true })],
  ['returns a promise of true', () => Promise.resolve(true)],
  ['returns a promise that is rejected', () => Promise.reject(new Error('no'))],
  [
    'throws',
    () => {
      throw new Error('the database is down')
    },
  ],
  [
    'throws nothing',
    () => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error
      throw undefined
    },
  ],
]

describe('an authorize that fails refuses, and is reported,', () => {
  test.each(noAnswers)('when it %s', async (_, answer) => {
    let failing = false
    const { served, run } = await withRun((principal, action, target) =>
      failing ? (answer() as boolean) : defaultAuthorize(principal, action, target),
    )
    await using _served = served
    await using alice = await served.client()
    expect(await attached(alice, 1, run)).toBe('yes')
    failing = true
    alice.attach(2, run, 0)
    expect(await alice.next('end', 2)).toMatchObject({ data: { code: 'not_found' } })
    alice.start(3, 'hello')
    expect(await alice.next('end', 3)).toMatchObject({ data: { code: 'forbidden' } })
    alice.send({ kind: 'cancel', sid: 1 })
    expect(await alice.next('notice')).toMatchObject({ code: 'forbidden' })
    expect(served.errors).toHaveLength(3)
    expect(served.server.liveRuns).toBe(1)
  })
})
