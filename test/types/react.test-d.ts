import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import { createClient, type MillraceError, only, type Receipt, type Status } from '../../client-sdk/index.ts'
import { useConnection, useConversation, useRun, useRuns } from '../../react/index.ts'
import { actor, agent, conversation } from '../../server/index.ts'

export const actors = {
  chat: agent({}),
  talk: conversation({ agent: agent({}) }),
  count: actor({
    input: z.object({ to: z.number() }),
    async *stream({ to }) {
      yield { type: 'data', name: 'half', value: to / 2 }
      yield { type: 'data', name: 'word', value: 'five' }
      return { counted: to }
    },
  }),
}

const client = createClient<typeof actors>('ws://localhost')

// The actor gives the hook the types of its input, its result and its data.
const run = useRun(client, 'count', { follow: { page: 1 }, input: { to: 3 }, whenHidden: 'read' })
run.start({ to: 3 }, { meta: { title: 'three' } })
expectTypeOf(run.result).toEqualTypeOf<{ counted: number } | undefined>()
expectTypeOf(run.data.half).toEqualTypeOf<number | undefined>()
expectTypeOf(run.data.word).toEqualTypeOf<string | undefined>()
expectTypeOf(run.receipt).toEqualTypeOf<Receipt | undefined>()
expectTypeOf(useRun(client, 'chat').result).toEqualTypeOf<string | undefined>()
for (const part of run.parts) {
  if (part.type === 'data' && part.name === 'half') expectTypeOf(part.value).toEqualTypeOf<number>()
  if (part.type === 'text') expectTypeOf(part.text).toEqualTypeOf<string>()
  if (part.type === 'tool') expectTypeOf(part.call).toEqualTypeOf<string>()
}
// @ts-expect-error there is no such actor
useRun(client, 'cuont')
// @ts-expect-error the input has a wrong type in it
run.start({ to: '3' })
// @ts-expect-error so has this one
useRun(client, 'count', { input: { to: '3' } })
// @ts-expect-error no such data
expectTypeOf(run.data.whole)
// @ts-expect-error a state is not changed by its readers
run.parts = []

// Events keep their types on the way through what reads them.
useRun(client, 'count', {
  read: (each) => only(each, 'data'),
  onEvent(event) {
    if (event.type === 'data' && event.name === 'half') expectTypeOf(event.value).toEqualTypeOf<number>()
  },
})

// What a stop says, and what else can be done.
expectTypeOf(run.stop()).resolves.toHaveProperty('confirmed')
expectTypeOf(run.send('message', 'shorter').delivery).resolves.toEqualTypeOf<
  { n: number | undefined } | { lost: 'done' | 'error' | 'cancelled' | 'unknown' }
>()
expectTypeOf(run.approve('c1', { ok: true, args: { to: 4 } })).resolves.toBeVoid()

expectTypeOf(useRuns(client).runs[0]!.actor).toEqualTypeOf<'chat' | 'count' | 'talk'>()
expectTypeOf(useConnection(client)).toEqualTypeOf<{
  readonly status: Status
  readonly error: MillraceError | undefined
}>()

// Only a conversation can be shown as one.
const talk = useConversation(client, 'c1', { actor: 'talk', whenHidden: 'read' })
expectTypeOf(talk.messages[0]!.text).toEqualTypeOf<string>()
expectTypeOf(talk.send('hello')).resolves.toEqualTypeOf<string>()
// @ts-expect-error a count is none
useConversation(client, 'c1', { actor: 'count' })
// @ts-expect-error a message is a text or its parts
void talk.send(5)
