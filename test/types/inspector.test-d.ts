import { expectTypeOf } from 'vitest'
import { createClient, Roster, type RosterChanges, type RosterUpdate } from '../../client-sdk/index.ts'
import type { DataOf, ResultOf } from '../../protocol/actors.ts'
import { inspector } from '../../server/index.ts'

export const actors = { inspector: inspector() }

expectTypeOf<DataOf<typeof actors.inspector>>().toEqualTypeOf<RosterUpdate>()
expectTypeOf<ResultOf<typeof actors.inspector>>().toEqualTypeOf<undefined>()

const client = createClient<typeof actors>('ws://localhost')
client.start('inspector', undefined)
client.start('inspector', { everyMs: 1_000, once: true })
// @ts-expect-error it has no such option
client.start('inspector', { often: true })

const roster = new Roster()
for await (const event of client.start('inspector', {}))
  if (event.type === 'data') expectTypeOf(roster.take(event.value)).toEqualTypeOf<RosterChanges>()
