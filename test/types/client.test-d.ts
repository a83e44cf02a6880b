import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import {
  type CancelReason,
  type CancelResult,
  createClient,
  only,
  type Run,
  type StreamEvent,
  smooth,
  type TargetCancelResult,
} from '../../client-sdk/index.ts'
import { createClient as createNodeClient } from '../../client-sdk/node.ts'
import { actor } from '../../server/actors/actor.ts'

export const actors = {
  count: actor({
    input: z.object({ to: z.number(), by: z.number().optional() }),
    async *stream({ to }) {
      for (let i = 1; i <= to; i++) yield `${i} `
      yield { type: 'data', name: 'half', value: to / 2 }
      return { counted: to }
    },
  }),
  says: actor({
    async *stream() {
      yield 'text'
    },
  }),
  asked: actor({ input: z.string(), ask: async (question) => question.length }),
}
type Actors = typeof actors

const client = createClient<Actors>('ws://localhost', { token: async () => 'token' })

// Names and inputs.
const run = client.start('count', { to: 3 })
client.start('count', { to: 3, by: 2 }, { policy: 'pace', onDetach: 'cancel', signal: new AbortController().signal })
// @ts-expect-error there is no such actor
client.start('cuont', { to: 3 })
// @ts-expect-error the input lacks what the schema asks for
client.start('count', {})
// @ts-expect-error the input has a wrong type in it
client.start('count', { to: '3' })
// @ts-expect-error a question is a string
void client.ask('asked', { question: 'how long?' })
// @ts-expect-error there is no such policy
client.start('says', undefined, { policy: 'fast' })
// @ts-expect-error a view has no say in what happens when nobody watches
client.attach('says', 'r_1', { onDetach: 'cancel' })

// What comes back.
expectTypeOf(run).toEqualTypeOf<Run<{ name: 'half'; value: number }, { counted: number }>>()
expectTypeOf(run.result).resolves.toEqualTypeOf<{ counted: number }>()
expectTypeOf(client.start('says', undefined).result).resolves.toEqualTypeOf<string>()
expectTypeOf(client.ask('asked', 'how long?')).resolves.toEqualTypeOf<number>()
expectTypeOf(client.attach('count', 'r_1', { after: 'live' })).toEqualTypeOf<
  Run<{ name: 'half'; value: number }, { counted: number }>
>()

// Events narrow.
for await (const event of run) {
  expectTypeOf(event).toEqualTypeOf<StreamEvent<{ name: 'half'; value: number }>>()
  expectTypeOf(event.seq).toEqualTypeOf<number>()
  switch (event.type) {
    case 'token':
      expectTypeOf(event.text).toEqualTypeOf<string>()
      // @ts-expect-error a token has no value
      expectTypeOf(event.value)
      break
    case 'data':
      expectTypeOf(event.name).toEqualTypeOf<'half'>()
      expectTypeOf(event.value).toEqualTypeOf<number>()
      break
    case 'gap':
      expectTypeOf(event.reason).toEqualTypeOf<'retention' | 'policy' | 'store_lost' | 'rewound'>()
      break
    case 'tool.result':
      expectTypeOf(event.outcome).toEqualTypeOf<'ok' | 'error' | 'cancelled'>()
      break
    default:
  }
}
for await (const text of client.start('says', undefined).text()) expectTypeOf(text).toEqualTypeOf<string>()

// The type of a cancel says whether it is confirmed before it says what it did.
const cancelled = await run.cancel({ reason: 'superseded' })
expectTypeOf(cancelled).toEqualTypeOf<CancelResult>()
// The cancel of a target has a smaller receipt.
expectTypeOf(await run.cancel({ call: 'c1', note: 'enough' })).toEqualTypeOf<TargetCancelResult>()
// A code is always that of a refusal, and a receipt gives its reason as a word.
if ('code' in cancelled) expectTypeOf(cancelled.code).toEqualTypeOf<string>()
if ('reason' in cancelled) expectTypeOf(cancelled.reason).toEqualTypeOf<CancelReason | `${number}`>()
if (!cancelled.confirmed) expectTypeOf(cancelled.code).toEqualTypeOf<string>()
else if (cancelled.outcome === 'cancelled') expectTypeOf(cancelled.settled).toEqualTypeOf<boolean>()
// @ts-expect-error nothing is known before that was looked at
expectTypeOf(cancelled.settled)
expectTypeOf(await run.send('message', 'shorter')).toEqualTypeOf<'accepted' | 'duplicate'>()
expectTypeOf(run.id).toEqualTypeOf<string | undefined>()

// A list of runs is of the server's actors. What is listed can be attached to.
expectTypeOf(client.runs()).resolves.items.toHaveProperty('meta')
for (const { id, actor: name, outcome } of await client.runs()) {
  expectTypeOf(client.attach(name, id).id).toEqualTypeOf<string | undefined>()
  expectTypeOf(outcome).toEqualTypeOf<'done' | 'error' | 'cancelled' | undefined>()
}
for await (const runs of client.runs({ watch: true })) expectTypeOf(runs.length).toEqualTypeOf<number>()
expectTypeOf(client.runs({ watch: true })).not.toHaveProperty('then')

// Any run can be handed to what takes a run.
expectTypeOf(run).toExtend<Run>()

// Without actors every name goes, and nothing is known of what it takes or gives.
expectTypeOf(createClient('ws://localhost').ask('anything', { at: 'all' })).resolves.toEqualTypeOf<unknown>()

// Node's entry has the same shape.
expectTypeOf(createNodeClient).toEqualTypeOf(createClient)

// What is left of a run's events narrows as they do, and its text is text.
for await (const event of only(run, 'token', 'tool.call', 'data')) {
  expectTypeOf(event.type).toEqualTypeOf<'token' | 'tool.call' | 'data'>()
  if (event.type === 'data') expectTypeOf(event.value).toEqualTypeOf<number>()
}
for await (const { text, seq } of only(run, 'token')) expectTypeOf([text, seq]).toEqualTypeOf<(string | number)[]>()
// @ts-expect-error there is no such event
only(run, 'tokens')
// @ts-expect-error of no events nothing would ever come
only(run)
for await (const text of smooth(run.text(), { flushMs: 16 })) expectTypeOf(text).toEqualTypeOf<string>()
// @ts-expect-error events are no text
smooth(run)
