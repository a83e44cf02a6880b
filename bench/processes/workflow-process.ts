/** The process of a server that does workflows, and reads them itself: no socket is in the figures. */
import { type ActorContext, actor, anonymous, createServer, workflow } from 'millrace/server'
import { answerCommands } from '../stage/commands.ts'
import { beginWindow, spentInWindow } from './cpu-window.ts'
import { memory } from './memory.ts'

/** Events that a log keeps: those of half as many steps. */
const RETAINED = 2_000
/** Iterations, of two steps each, between which the log grows: what is made once is there by then, and nothing is dropped. */
const GROWING = [50, 450] as const
/** An iteration at which the log has been full for long. */
const FULL = 1_000

/** How often its step is done in the run under way, and what was held at two of these times. */
let done = 0
let looks: readonly number[] = []
let held: number[] = []

async function look(): Promise<number> {
  if (looks.includes(done)) held.push((await memory()).held)
  return done
}

const own = actor({
  async *stream(tokens: unknown) {
    for (let n = 0; n < Number(tokens); n++) yield 'token '
  },
})

const server = createServer({
  actors: {
    /** The events of as many steps, without the steps: a start and an end each. */
    events: actor({
      async *stream(steps: unknown, { emit }: ActorContext) {
        yield* []
        for (let n = 1; n <= Number(steps); n++) {
          await emit({ type: 'step', id: `turns[${n}]`, name: 'turns', status: 'start' })
          await emit({ type: 'step', id: `turns[${n}]`, name: 'turns', status: 'done', ms: 0, output: n })
        }
      },
    }),
    /** Half of its steps are iterations. */
    steps: workflow({
      steps: (flow) =>
        flow.loop('turns', (turn) => turn.step('add', () => (++done && looks.includes(done) ? look() : done)), {
          until: (n, _, steps) => n * 2 >= Number(steps),
          max: 1_000_000,
        }),
    }),
    own,
    child: actor({
      async *stream(tokens: unknown, { spawn }: ActorContext) {
        yield* spawn(own, tokens)
      },
    }),
  },
  authenticate: anonymous(),
  limits: { retainEvents: RETAINED, startsPerSec: 1_000_000, startBurst: 1_000_000 },
})

export type WorkflowActor = 'events' | 'steps' | 'own' | 'child'

const commands = {
  /** Reads a run to its end. Gives the microseconds of CPU of each step, or token. */
  async run({ name, count }: { name: WorkflowActor; count: number }): Promise<number> {
    done = 0
    looks = []
    beginWindow()
    for await (const _ of server.router.stream(name, count));
    return spentInWindow().cpuUs / count
  },

  /** The bytes that each step adds while its run goes on: with its two events, and once the log drops as many. */
  async kept(steps: number): Promise<{ growing: number; full: number }> {
    done = 0
    held = []
    looks = [...GROWING, FULL, FULL + steps / 2]
    for await (const _ of server.router.stream('steps', 2 * FULL + steps));
    const [few = Number.NaN, many = Number.NaN, before = Number.NaN, after = Number.NaN] = held
    return { growing: (many - few) / (2 * (GROWING[1] - GROWING[0])), full: (after - before) / steps }
  },
}

export type WorkflowCommands = typeof commands

answerCommands(commands)
