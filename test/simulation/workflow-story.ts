import type { RunEnd, StreamEvent } from '../../client-sdk/index.ts'

type StepEvent = Extract<StreamEvent, { type: 'step' }>

/** What the log of a run says about its steps and its children. */
export type Story = {
  readonly steps: readonly StepEvent[]
  /** The ids of the leaves that are done. */
  readonly done: ReadonlySet<string>
  readonly events: readonly StreamEvent[]
}

export function storyOf(events: readonly StreamEvent[]): Story {
  const steps = events.filter((event): event is StepEvent => event.type === 'step')
  const done = new Set(steps.filter(({ status }) => status === 'done').map(({ id }) => id))
  for (const { id } of steps.filter(({ status }) => status === 'done' || status === 'skipped')) {
    // The items of a chunk of a map.
    const [, name = '', from, to] = /^(.*)\[(\d+)\.\.(\d+)\]$/.exec(id) ?? []
    for (let at = Number(from); at <= Number(to); at++) done.add(`${name}[${at}]`)
  }
  // The chunks of a batch begin where they are cut.
  for (const event of events)
    if (event.type === 'progress' && event.step !== undefined && event.message !== undefined)
      for (let at = 0; at < event.current; at++) done.add(`${event.step}[${at}]`)
  return { steps, done, events }
}

/** Checks what must hold of every run. */
export function checkStory(story: Story, end: RunEnd, fail: (kind: string, detail: string) => unknown): void {
  checkSteps(story, end, fail)
  checkChildren(story, fail)
  checkProgress(story, fail)
}

/** Each step begins once, or again behind a failure, and ends once; none says anything once it has ended. */
function checkSteps({ steps }: Story, end: RunEnd, fail: (kind: string, detail: string) => unknown): void {
  const states = new Map<string, StepEvent>()
  for (const step of steps) {
    const { id, status } = step
    const last = states.get(id)
    const isOpen = last?.status === 'start'
    const isRetried = last?.status === 'failed' && last.retryMs !== undefined
    if (status === 'start' && last && !isRetried) fail('revived', `${id} begins again behind ${last.status}`)
    if (status === 'skipped' && last) fail('revived', `${id} is skipped behind ${last.status}`)
    if ((status === 'done' || status === 'failed') && !isOpen)
      fail('never-began', `${id} is ${status} behind ${last?.status ?? 'nothing'}`)
    states.set(id, step)
  }
  // A stop leaves open what was under way, and so does the death of its process.
  if (end.outcome === 'cancelled' || end.error?.code === 'interrupted') return
  for (const [id, { status, retryMs }] of states) {
    if (status !== 'start' && retryMs === undefined) continue
    // Only a stop leaves a step open, and what it is inside of has failed then.
    const isStopped = [...states].some(([other, around]) => around.status === 'failed' && isWithin(id, other))
    if (!isStopped) fail('left-open', id)
  }
}

function isWithin(id: string, other: string): boolean {
  return id.startsWith(`${other}/`) || id.startsWith(`${other}[`)
}

/** No child says anything once it has ended, and each ends once. */
function checkChildren({ events }: Story, fail: (kind: string, detail: string) => unknown): void {
  const live = new Set<string>()
  const past = new Set<string>()
  for (const event of events) {
    if (event.type === 'gap' || event.agent === undefined) continue
    const { agent } = event
    if (event.type === 'agent.start') {
      if (live.has(agent) || past.has(agent)) fail('child-twice', agent)
      live.add(agent)
    } else if (!live.has(agent)) fail('child-revived', `${agent} says ${event.type} after its end`)
    if (event.type !== 'agent.end') continue
    live.delete(agent)
    past.add(agent)
  }
}

/** A step has one child at a time: behind a restart, it is the one that was there. */
export function checkBranches({ steps, events }: Story, fail: (kind: string, detail: string) => unknown): void {
  const ids = new Set(steps.map(({ id }) => id))
  const live = new Map<string, string>()
  for (const event of events) {
    if (event.type === 'agent.end') live.delete(event.agent ?? '')
    if (event.type !== 'agent.start' || !ids.has(event.name)) continue
    if ([...live.values()].includes(event.name)) fail('branch-twice', event.name)
    live.set(event.agent ?? '', event.name)
  }
}

/** Progress goes one way. */
function checkProgress({ events }: Story, fail: (kind: string, detail: string) => unknown): void {
  const at = new Map<string, number>()
  for (const event of events) {
    if (event.type !== 'progress' || event.step === undefined) continue
    const key = event.step
    // An attempt begins to count again.
    if (event.current < (at.get(key) ?? 0) && event.message !== undefined) fail('progress-back', key)
    at.set(key, event.current)
  }
}
