import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { InspectorUpdate } from '../../protocol/inspector.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { wait } from '../streams/wait.ts'
import { Sampler } from './sampler.ts'
import { WatcherState } from './watcher-state.ts'

/** What an inspector is asked. Everything may be left out. */
export type InspectorInput = {
  /** How often it looks, in milliseconds. Default 500, at least 100. */
  everyMs?: number | undefined
  /** Tells once what there is, after `everyMs` so that rates are known, and ends. Default: it tells until it is stopped. */
  once?: boolean | undefined
} | null

type InspectorEvent = { type: 'data'; name: 'inspector'; value: InspectorUpdate }

const DEFAULT_EVERY_MS = 500
const LEAST_EVERY_MS = 100
const MOST_EVERY_MS = 3_600_000
/** A timer may fire a moment before it is due. */
const EARLY_MS = 1

const input = z
  .strictObject({
    everyMs: z.number().int().min(LEAST_EVERY_MS).max(MOST_EVERY_MS).default(DEFAULT_EVERY_MS),
    once: z.boolean().default(false),
  })
  .nullish()
  .transform((asked) => asked ?? { everyMs: DEFAULT_EVERY_MS, once: false })

/**
 * Makes an actor that tells what goes on at the server it is registered at: sessions and runs that come, change and go,
 * as `data` events whose value is a `InspectorUpdate`. First comes the whole list, then what changed; a reader that is slow
 * is told less often, and of what changed several times only the last.
 *
 * A run is on the list from its beginning until it has ended and nothing of it goes on: as long as it takes up a place.
 * One that begins and ends between two looks may never be on it. A principal is told of its own sessions and runs; one
 * that had the right `observe` when it started the inspector, of all. Nobody is told of inputs, answers, meta, or
 * credentials. The run of an inspector is on the list as well, marked as one; what it says of itself is told only
 * together with something else.
 *
 * It ends when it is stopped, when the server goes away and nothing else is left to wait for, and at the deadline of every
 * run (`timeoutMs`): who wants to watch on starts it anew.
 */
export function inspector(): Actor<InspectorInput | undefined, undefined, InspectorUpdate> {
  const description = 'Tells which sessions and runs there are, and how they fare.'
  const made = actor({
    description,
    input,
    async *stream(): AsyncGenerator<InspectorEvent, void> {
      yield* []
      throw new MillraceError(
        'bad_request',
        'an inspector sees nothing unless it is registered: createServer({ actors: { inspector: inspector() } })',
      )
    },
  })
  return {
    ...made,
    onRegister(view) {
      const sampler = samplerAt(view)
      return actor({ description, input, stream: (asked, context) => watch(sampler, asked, context) })
    },
  }
}

/** Two inspectors of one server share what they see. */
const samplers = new WeakMap<ServerView, Sampler>()

function samplerAt(view: ServerView): Sampler {
  const sampler = samplers.get(view) ?? new Sampler(view)
  samplers.set(view, sampler)
  return sampler
}

async function* watch(
  sampler: Sampler,
  { everyMs, once }: z.output<typeof input>,
  { run, principal, signal }: ActorContext,
): AsyncGenerator<InspectorEvent, void> {
  const { runtime } = sampler.view
  const watcher = new WatcherState(sampler, principal.rights?.includes('observe') ? undefined : principal.id)
  sampler.enter(run.id)
  try {
    if (once) {
      await wait(everyMs, signal, runtime)
      sampler.look()
    }
    for (;;) {
      for (const value of watcher.updates()) yield { type: 'data', name: 'inspector', value }
      if (once || (sampler.view.leaving && sampler.isAlone)) return
      // All who look as often look at the same time, and so share what they see.
      await wait(Math.ceil(everyMs - (runtime.now() % everyMs)) + EARLY_MS, signal, runtime)
      sampler.lookAgain()
    }
  } finally {
    sampler.leave(run.id)
  }
}
