import type { RunEnd, StreamEvent } from '../../client-sdk/index.ts'
import type { SimTeam } from './sim-teams.ts'

type Fail = (kind: string, detail: string) => unknown

/** Checks what must hold of every run of a team. */
export function checkTeam(team: SimTeam, events: readonly StreamEvent[], end: RunEnd, fail: Fail): void {
  checkSpeakers(events, fail)
  checkTasks(events, fail)
  if (end.outcome === 'done') checkAnswer(team, events, end, fail)
}

/** What a member says is said by the child that is called after it, and the lead speaks for the run. */
function checkSpeakers(events: readonly StreamEvent[], fail: Fail): void {
  const names = new Map<string | undefined, string>([[undefined, 'lead']])
  for (const event of events) {
    if (event.type === 'agent.start') names.set(event.agent, event.name)
    if (event.type !== 'token') continue
    const name = names.get(event.agent) ?? ''
    const path = name.split('/')
    for (const speaker of speakersOf(event.text))
      if (!path.includes(speaker)) fail('misattributed', `${event.text} of ${name}`)
  }
}

/** The answer is that of the member whose task it is to give it. */
function checkAnswer(team: SimTeam, events: readonly StreamEvent[], { result }: RunEnd, fail: Fail): void {
  const own = events.map((event) => (event.type === 'token' && event.agent === undefined ? event.text : ''))
  const answer = typeof result === 'string' ? result : (JSON.stringify(result) ?? own.join(''))
  const handedTo = events.find((event) => event.type === 'tool.result' && String(event.output).includes(' takes over'))
  const meant = handedTo?.type === 'tool.result' ? [String(handedTo.output).split(' ')[0]] : team.speakers.slice(0, 1)
  const speakers = speakersOf(answer)
  if (speakers.length === 0 || speakers.some((speaker) => !meant.includes(speaker)))
    fail('wrong-answer', `${answer} is not of ${meant.join()}`)
}

/** A task that has ended never changes its state. */
function checkTasks(events: readonly StreamEvent[], fail: Fail): void {
  const ended = new Map<string, { readonly state: string; readonly turn: number }>()
  let turn = 0
  for (const event of events) {
    if ('agent' in event && event.agent !== undefined) continue
    if (event.type === 'iteration') turn++
    if (event.type !== 'tool.result') continue
    if (event.error?.includes('unknown task')) fail('task-lost', event.error)
    for (const { task, state } of tasksIn(event.output)) {
      const before = ended.get(task)
      // Calls of one turn are made at the same time.
      if (before && before.turn < turn && before.state !== state)
        fail('task-revived', `${task} is ${state}, and was ${before.state}`)
      if (!before && ['done', 'error', 'cancelled'].includes(state)) ended.set(task, { state, turn })
    }
  }
}

function tasksIn(output: unknown): { readonly task: string; readonly state: string }[] {
  const { task, state, tasks } = Object(output) as { task?: unknown; state?: unknown; tasks?: unknown }
  if (Array.isArray(tasks)) return tasks.flatMap(tasksIn)
  return typeof task === 'string' && typeof state === 'string' ? [{ task, state }] : []
}

/** Who says a text: each word begins with its speaker. */
function speakersOf(text: string): string[] {
  return text
    .split(' ')
    .filter((word) => word.includes(':'))
    .map((word) => word.split(':')[0] as string)
}
