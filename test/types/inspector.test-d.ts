import { expectTypeOf } from 'vitest'
import { createClient, type InspectorChanges, InspectorState, type InspectorUpdate } from '../../client-sdk/index.ts'
import type { DataOf, ResultOf } from '../../protocol/actors.ts'
import { inspector } from '../../server/index.ts'

export const actors = { inspector: inspector() }

expectTypeOf<DataOf<typeof actors.inspector>>().toEqualTypeOf<{ name: 'inspector'; value: InspectorUpdate }>()
expectTypeOf<ResultOf<typeof actors.inspector>>().toEqualTypeOf<undefined>()

const client = createClient<typeof actors>('ws://localhost')
client.start('inspector', undefined)
client.start('inspector', { everyMs: 1_000, once: true })
// @ts-expect-error it has no such option
client.start('inspector', { often: true })

const state = new InspectorState()
for await (const event of client.start('inspector', {}))
  if (event.type === 'data') expectTypeOf(state.take(event.value)).toEqualTypeOf<InspectorChanges>()
