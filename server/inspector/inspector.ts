import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { InspectorUpdate } from '../../protocol/inspector.ts'
import { type Actor, type ActorContext, actor } from '../actors/actor.ts'
import type { ServerView } from '../actors/server-view.ts'
import { wait } from '../streams/wait.ts'
import { Elsewhere } from './elsewhere.ts'
import { Sampler } from './sampler.ts'
import { WatcherState } from './watcher-state.ts'

/** The input of an inspector. All members are optional. */
export type InspectorInput = {
  /** Interval between two updates, in milliseconds: 100 to 3,600,000. Default 500. */
  everyMs?: number | undefined
  /**
   * If true, also the live runs of the other servers that share the store, at most 1,000 of them and 1,000 children of
   * them. They have a `node`. Their figures are looked at once a second, and have no bytes, sessions or readers. Default false.
   */
  all?: boolean | undefined
  /** If true, the run reports once and ends. It waits `everyMs` first, so that rates are known. Default false. */
  once?: boolean | undefined
} | null

type InspectorEvent = { type: 'data'; name: 'inspector'; value: InspectorUpdate }

const DEFAULT_EVERY_MS = 500
const LEAST_EVERY_MS = 100
const MOST_EVERY_MS = 3_600_000
/** Milliseconds by which a timer may fire early. */
const EARLY_MS = 1

const input = z
  .strictObject({
    everyMs: z.number().int().min(LEAST_EVERY_MS).max(MOST_EVERY_MS).default(DEFAULT_EVERY_MS),
    all: z.boolean().default(false),
    once: z.boolean().default(false),
  })
  .nullish()
  .transform((asked) => asked ?? { everyMs: DEFAULT_EVERY_MS, all: false, once: false })

/**
 * Makes an actor that reports the sessions and runs of the server that registers it. Each report is a `data` event
 * whose value is an `InspectorUpdate`. The first reports have the whole list, and later ones only changes. A slow
 * reader gets reports less often; of several changes to one value it gets only the last.
 *
 * A run is on the list while it keeps its slot: from its start until it has ended and settled. A run that starts and
 * settles between two samples may be missing. A principal sees its own sessions and runs. A principal that had the
 * right `observe` when it started the inspector sees all. The list never has inputs, answers, meta or credentials. The
 * inspector's own run is on the list and marked as an inspector; its own figures alone never cause a report.
 *
 * The run ends when it is cancelled, and when the server shuts down and only inspectors run. The deadline of every run
 * (`timeoutMs`) also applies: to continue, start the inspector again.
 */
export function inspector(): Actor<
  InspectorInput | undefined,
  undefined,
  { name: 'inspector'; value: InspectorUpdate }
> {
  const description = 'Reports the sessions and runs of this server, with their state and rates.'
  const made = actor({
    description,
    input,
    async *stream(): AsyncGenerator<InspectorEvent, void> {
      yield* []
      throw new MillraceError(
        'bad_request',
        'the inspector must be an actor of a server: register it with createServer({ actors: { inspector: inspector() } })',
      )
    },
  })
  return {
    ...made,
    onRegister(view) {
      const samplers = samplersAt(view)
      const watching = actor({
        description,
        input,
        stored: false,
        stream: (asked, context) => watch(samplers, asked, context),
      })
      return { ...watching, listed: false }
    },
  }
}

/** What is seen of the runs of this server, and of others. */
type Samplers = { readonly here: Sampler; readonly elsewhere: Elsewhere }

/** All inspectors of one server share its samplers. */
const known = new WeakMap<ServerView, Samplers>()

function samplersAt(view: ServerView): Samplers {
  const samplers = known.get(view)
  if (samplers) return samplers
  const here = new Sampler(view)
  const made = { here, elsewhere: new Elsewhere(here) }
  known.set(view, made)
  return made
}

async function* watch(
  { here: sampler, elsewhere }: Samplers,
  { everyMs, all, once }: z.output<typeof input>,
  { run, principal, signal }: ActorContext,
): AsyncGenerator<InspectorEvent, void> {
  const { runtime } = sampler.view
  const watcher = new WatcherState(sampler, principal, all ? elsewhere : undefined)
  sampler.enter(run.id)
  if (all) elsewhere.enter()
  try {
    if (all) await elsewhere.look()
    if (once) {
      await wait(everyMs, signal, runtime)
      sampler.look()
      if (all) await elsewhere.look()
    }
    for (;;) {
      for (const value of watcher.updates()) yield { type: 'data', name: 'inspector', value }
      if (once || (sampler.view.leaving && sampler.isAlone)) return
      // Inspectors with the same interval wake at the same time, and so share one sample.
      await wait(Math.ceil(everyMs - (runtime.now() % everyMs)) + EARLY_MS, signal, runtime)
      sampler.lookAgain()
      if (all) await elsewhere.look()
    }
  } finally {
    if (all) elsewhere.leave()
    sampler.leave(run.id)
  }
}
