import type { WorkflowActor, WorkflowCommands } from './processes/workflow-process.ts'
import type { BenchQuestion, Goal } from './question.ts'
import { coresToPin } from './stage/machine.ts'
import { PinnedProcess } from './stage/pinned-process.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'

const NAMES: readonly WorkflowActor[] = ['events', 'steps', 'own', 'child']

type Sample = { us: number; kept: { growing: number; full: number } }

const NOTHING: Sample['kept'] = { growing: Number.NaN, full: Number.NaN }

/** What does a step of a workflow add, and a token of a child? */
export const workflows: BenchQuestion = {
  name: 'workflows',
  async ask({ counts, say }) {
    const { rounds, steps, tokens } = counts({
      full: { rounds: 7, steps: 20_000, tokens: 100_000 },
      quick: { rounds: 2, steps: 10_000, tokens: 50_000 },
      smoke: { rounds: 1, steps: 200, tokens: 200 },
    })
    await using server = new PinnedProcess<WorkflowCommands>('workflow-process.js', coresToPin()?.[0], {}, 'workflows')
    const result = await interleaved<WorkflowActor, Sample>(
      NAMES,
      rounds,
      async (name) => {
        const isStep = name === 'events' || name === 'steps'
        const us = await server.ask('run', { name, count: isStep ? steps : tokens })
        return { us, kept: name === 'steps' ? await server.ask('kept', steps) : NOTHING }
      },
      say,
    )
    const us = (name: WorkflowActor): number[] => figuresOf(result, name, (one) => one.us)
    const growing = median(figuresOf(result, 'steps', (one) => one.kept.growing))
    const full = median(figuresOf(result, 'steps', (one) => one.kept.full))
    const added = (name: WorkflowActor, base: WorkflowActor): number[] =>
      us(name).map((value, round) => value - (us(base)[round] ?? Number.NaN))
    const ofChild = ratios(added('child', 'own'), us('own'))
    const row = (what: string, name: WorkflowActor, base: WorkflowActor): string[] => [
      what,
      figure(median(us(name))),
      name === base ? '-' : spread(ratios(us(name), us(base))),
      name === 'steps' ? figure(growing) : '-',
      name === 'steps' ? figure(full) : '-',
    ]
    return {
      tables: [
        {
          title: `Workflows: ${steps.toLocaleString('en')} steps, ${tokens.toLocaleString('en')} tokens, read in the process`,
          columns: ['', 'us CPU each', 'x the one above', 'bytes each', 'once the log is full'],
          rows: [
            row('two events of an actor', 'events', 'events'),
            row('a step of a workflow, with its two events', 'steps', 'events'),
            row('a token of a run', 'own', 'own'),
            row('a token of a child that its parent passes on', 'child', 'own'),
          ],
          notes: [
            'A step is an iteration of a loop, or the plain function in it. A token of a child is logged twice: by the child, and by its parent.',
            ...failureNotes(result),
          ],
        },
      ],
      summary: [],
      goals: [
        goal('workflows: a step, with its events', 'us', 20, median(us('steps'))),
        goal('workflows: what a step keeps', 'kB', 2, Math.max(growing, full) / 1_000),
        goal('workflows: a token of a child, besides that of its parent, against that', 'x', 1, median(ofChild)),
      ],
      failures: failureNotes(result),
      figures: recorded(result),
    }
  },
}

function goal(name: string, unit: Goal['unit'], atMost: number, ws: number): Goal {
  return { name, unit, atMost, ws, uws: Number.NaN }
}
