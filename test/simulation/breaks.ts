import { decodeDown, decodeUp } from '../../protocol/decode.ts'
import { encodeDown, encodeUp } from '../../protocol/encode.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { EVENT, type RunEvent } from '../../protocol/events.ts'
import type { DownFrame, UpFrame, WireMap } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { BY_PARENT } from '../../server/actors/child-run.ts'
import { AgentMessages } from '../../server/agents/agent-messages.ts'
import { Cursor } from '../../server/log/cursor.ts'
import { Log } from '../../server/log/log.ts'
import { LogWriter } from '../../server/log/log-writer.ts'
import { Readers } from '../../server/log/readers.ts'
import { CallIds } from '../../server/runs/call-ids.ts'
import { Child } from '../../server/runs/child.ts'
import { Children } from '../../server/runs/children.ts'
import { Governor } from '../../server/runs/governor.ts'
import { Inputs } from '../../server/runs/inputs.ts'
import { Journal } from '../../server/runs/journal.ts'
import { LocalReader } from '../../server/runs/local-reader.ts'
import { OpenIds } from '../../server/runs/open-ids.ts'
import { OpenWork } from '../../server/runs/open-work.ts'
import { Orders } from '../../server/runs/orders.ts'
import { Parking } from '../../server/runs/parking.ts'
import { Requests } from '../../server/runs/requests.ts'
import { Run } from '../../server/runs/run.ts'
import { UsageTally } from '../../server/runs/usage-tally.ts'
import { Quota } from '../../server/sessions/admission.ts'
import { EndedRuns } from '../../server/sessions/ended-runs.ts'
import { Registry } from '../../server/sessions/registry.ts'
import { RunLists } from '../../server/sessions/run-lists.ts'
import { RunStorage } from '../../server/sessions/run-storage.ts'
import type { Session } from '../../server/sessions/session.ts'
import { Sessions } from '../../server/sessions/sessions.ts'
import { Tasks } from '../../server/teams/tasks.ts'
import { KeptResults } from '../../server/workflows/kept-results.ts'
import { WorkflowRun } from '../../server/workflows/workflow-run.ts'
import type { Tamper } from './network.ts'

const SCAN = { maxBytes: 1e7, maxDepth: DEFAULT_LIMITS.maxDepth, maxValues: 1e6 }

/** A rule that is broken on purpose: in the code while `patch`ed, or in what travels. */
export type Break = {
  readonly patch?: () => () => void
  readonly tamper?: () => Tamper
  /** The kind of violation that shows it. Absent: any does. */
  readonly finds?: string
  /** Where the search for it begins: a seed behind which one finds it soon, where that is rare. Default: 1. */
  readonly from?: number
}

/** Alters what a server says, frame by frame. */
function down(alter: (frame: DownFrame) => DownFrame[]): () => Tamper {
  return () => ({ down: (message) => encodeDown(decodeDown(message, SCAN).flatMap(alter)) })
}

/** Alters what a client says, frame by frame; undefined frames are dropped. */
function up(alter: (frame: UpFrame) => UpFrame[]): () => Tamper {
  return () => ({
    up: (message) => {
      const frames = decodeUp(message, SCAN).flatMap(alter)
      return frames.length > 0 ? encodeUp(frames) : undefined
    },
  })
}

/** Replaces a method until it is put back. */
export function method<Class extends object, Name extends keyof Class>(
  on: Class,
  name: Name,
  replace: (original: Class[Name]) => Class[Name],
): () => () => void {
  return () => {
    const original = Object.getOwnPropertyDescriptor(on, name)
    if (!original) throw new Error(`no method ${String(name)} to break`)
    Object.defineProperty(on, name, { ...original, value: replace(original.value as Class[Name]) })
    return () => Object.defineProperty(on, name, original)
  }
}

/** Replaces what a getter gives until it is put back. */
export function getter<Class extends object, Name extends keyof Class>(
  on: Class,
  name: Name,
  value: Class[Name],
): () => () => void {
  return () => {
    const original = Object.getOwnPropertyDescriptor(on, name)
    if (!original?.get) throw new Error(`no getter ${String(name)} to break`)
    Object.defineProperty(on, name, { ...original, get: () => value })
    return () => Object.defineProperty(on, name, original)
  }
}

/** Breaks two things at once. */
export function both(one: () => () => void, other: () => () => void): () => () => void {
  return () => {
    const restored = [one(), other()]
    return () => {
      for (const restore of restored) restore()
    }
  }
}

/** Alters from what an actor goes on in another process. */
function checkpointed(alter: (state: object) => object): () => () => void {
  return method(
    Parking.prototype,
    'checkpoint',
    (original) =>
      function (this: Parking, state) {
        original.call(this, (waiting) => {
          const kept = state(waiting)
          return typeof kept === 'object' && kept !== null ? alter(kept) : kept
        })
      },
  )
}

/** Alters the events of one type that a server sends. */
function events(type: number, alter: (data: WireMap, sid: number) => WireMap): () => Tamper {
  return down((frame) =>
    frame.kind === 'event' && frame.type === type ? [{ ...frame, data: alter(frame.data, frame.sid) }] : [frame],
  )
}

/** Nothing, packed. */
const NIL = Uint8Array.of(0xc0)

/** Rules of workflows, and of the runs that are their branches. */
export const WORKFLOW_BREAKS: { readonly [sentence: string]: Break } = {
  'a step that is done is not done again': { patch: method(KeptResults.prototype, 'find', () => () => undefined) },
  'a batch goes on behind its last finished chunk': {
    from: 30,
    patch: method(KeptResults.prototype, 'position', () => () => 0),
  },
  'what is left out in a retry is what was done': {
    patch: method(
      KeptResults.prototype,
      'moveTo',
      (original) =>
        function (this: KeptResults, id, done) {
          original.call(this, id, Math.max(0, done - 1))
        },
    ),
  },
  'no step begins in a paused branch': {
    from: 250,
    patch: both(
      getter(Orders.prototype, 'isPaused', false),
      method(Orders.prototype, 'hold', () => () => undefined),
    ),
  },
  'a cancel stops a branch': { patch: method(Child.prototype, 'stop', () => () => {}) },
  'branches end with their run': {
    patch: method(
      Child.prototype,
      'stop',
      (stop) =>
        function (this: Child, why) {
          if (why.by !== 'parent') stop.call(this, why)
        },
    ),
  },
  'a step ends once': {
    tamper: events(EVENT.step, (data) => (data['status'] === 'done' ? { ...data, status: 'start' } : data)),
  },
  'each step that begins says how it ends': {
    tamper: events(EVENT.step, (data) => (data['status'] === 'failed' ? { ...data, retryMs: 1 } : data)),
  },
  'every reader learns the same of a step': {
    tamper: events(EVENT.step, (data, sid) => (sid % 2 === 0 && 'output' in data ? { ...data, output: 'x' } : data)),
  },
  'a branch that has ended says no more': {
    tamper: events(EVENT.step, (data) => ('agent' in data ? { ...data, agent: 'r_past' } : data)),
  },
  'behind a restart, a step that is done is not done again': {
    patch: method(KeptResults.prototype, 'restore', () => () => {}),
  },
  'a branch that waited goes on as the one that clients know': {
    patch: method(Children.prototype, 'restore', () => () => {}),
  },
  'an agent goes on with its whole conversation': {
    patch: checkpointed((state) => {
      const { conversation } = state as { conversation?: readonly unknown[] }
      return conversation ? { ...state, conversation: conversation.slice(1) } : state
    }),
  },
  'a declared child outlives its parent': { patch: method(Children.prototype, 'letGo', () => () => []) },
  'no other child does': {
    patch: method(
      Children.prototype,
      'letGo',
      (original) =>
        function (this: Children, reason) {
          return original.call(this, reason, true)
        },
    ),
  },
  'a child that is let go is stopped by nobody': {
    patch: method(
      Run.prototype,
      'letGo',
      (original) =>
        function (this: Run) {
          original.call(this)
          this.cancel(BY_PARENT)
        },
    ),
  },
  'a child that is let go is on the list of its principal': {
    patch: method(
      RunLists.prototype,
      'add',
      (original) =>
        function (this: RunLists, run, startedAt) {
          if (!(run as { isChild?: boolean }).isChild) original.call(this, run, startedAt)
        },
    ),
  },
  'a child that is let go is kept once it has ended': {
    finds: 'let-go-lost',
    patch: method(
      EndedRuns.prototype,
      'add',
      (original) =>
        function (this: EndedRuns<Run>, run: Run) {
          original.call(this, run)
          if (run.isChild && run.parent === undefined) this.drop(new Set([run]))
        },
    ),
  },
  'what a finished step has paid is not paid again in a retry': {
    finds: 'paid-twice',
    patch: method(KeptResults.prototype, 'learn', () => () => {}),
  },
  'what a member says is told of that member': {
    tamper: events(EVENT.agentStart, (data) => ({ ...data, name: 'somebody' })),
  },
  'the answer of a team is that of the member whose task it is': {
    finds: 'wrong-answer',
    patch: method(
      WorkflowRun.prototype,
      'run',
      (original) =>
        function (this: WorkflowRun, nodes, context) {
          return original.call(this, nodes.slice(0, Math.max(1, nodes.length - 1)), context)
        },
    ),
  },
  'a task that has ended stays so': {
    from: 315,
    finds: 'task-revived',
    patch: () => {
      const seen = new WeakSet<object>()
      return method(
        Tasks.prototype,
        'find',
        (original) =>
          function (this: Tasks, id) {
            const task = original.call(this, id)
            const isKnown = seen.has(task)
            if (['done', 'error', 'cancelled'].includes(task.state)) seen.add(task)
            return isKnown ? (Object.create(task, { state: { value: 'running' } }) as typeof task) : task
          },
      )()
    },
  },
  'a lead finds the tasks that it has started': {
    finds: 'task-lost',
    patch: method(Tasks.prototype, 'find', () => (id) => {
      throw new MillraceError('not_found', `unknown task ${id}`)
    }),
  },
  'a lead that has handed over says no more, also behind a restart': {
    from: 270,
    finds: 'lead-goes-on',
    patch: checkpointed((state) => ({ ...state, handOff: undefined })),
  },
  'a run that only waits is not interrupted by a restart': {
    finds: 'wait-interrupted',
    patch: method(
      Journal.prototype,
      'park',
      (original) =>
        function (this: Journal) {
          return original.call(this, NIL)
        },
    ),
  },
  'the progress of a step goes one way': {
    finds: 'progress-back',
    tamper: events(EVENT.progress, ({ current, ...data }) => ({ ...data, current: 1_000 - Number(current) })),
  },
  'all readers see one end': {
    finds: 'two-ends',
    tamper: down((frame) =>
      frame.kind === 'end' && frame.sid % 2 === 0 ? [{ ...frame, data: { ...frame.data, result: 'x' } }] : [frame],
    ),
  },
  'a step that ends has begun': {
    finds: 'never-began',
    patch: method(KeptResults.prototype, 'tell', () => () => false),
  },
  'what waited goes on with the run that waited for it': {
    from: 160,
    finds: 'never-went-on',
    patch: method(Children.prototype, 'restore', () => () => {}),
  },
}

/** Rules of a store, and of what comes back from it. */
export const STORE_BREAKS: { readonly [sentence: string]: Break } = {
  'the store knows that a waiting run goes on before anything follows': {
    from: 115,
    patch: method(
      Journal.prototype,
      'goOn',
      (original) =>
        function (this: Journal) {
          void original.call(this)
          return undefined
        },
    ),
  },
  'a run of another process is still parked': { patch: method(Journal.prototype, 'goOn', () => () => undefined) },
  'an end waits for the store': {
    patch: method(
      Journal.prototype,
      'end',
      (original) =>
        function (this: Journal, end) {
          void original.call(this, end)
          return Promise.resolve()
        },
    ),
  },
  'what is only logged is not shown': { from: 150, patch: method(Log.prototype, 'showThrough', () => () => {}) },
  'a run that only waits is parked': {
    from: 370,
    patch: method(Journal.prototype, 'park', () => () => Promise.resolve()),
  },
  'a run that only waited goes on': { from: 370, patch: method(Parking.prototype, 'checkpoint', () => () => {}) },
  'a child that waited is found again': { patch: method(Children.prototype, 'restore', () => () => {}) },
  'a child is parked once its parent has read what it said': { patch: getter(LocalReader.prototype, 'hasRead', true) },
  'a key names one run, also in another process': {
    patch: method(
      RunStorage.prototype,
      'begin',
      (original) =>
        function (this: RunStorage, id, run) {
          return original.call(this, id, run, undefined)
        },
    ),
  },
  'a new life begins behind what is stored': {
    patch: method(
      Log.prototype,
      'lifeAfter',
      () =>
        function () {
          return undefined
        },
    ),
  },
  'a stored log comes back whole': {
    patch: method(
      Log.prototype,
      'add',
      (original) =>
        function (this: Log, batch) {
          if (batch.first === 1 || batch.first % 2 === 0) original.call(this, batch)
        },
    ),
  },
}

/** Rules of agents, their tools and their children. */
export const AGENT_BREAKS: { readonly [sentence: string]: Break } = {
  'a tool call can be cancelled': { patch: method(Run.prototype, 'cancelCall', () => () => false) },
  'a cancel of one call reaches that one': { patch: method(Run.prototype, 'cancelCall', () => () => true) },
  'a tool that has finished frees its slot': {
    patch: method(
      OpenWork.prototype,
      'openTool',
      (original) =>
        function (this: OpenWork, id) {
          return { ...original.call(this, id), finished: () => {} }
        },
    ),
  },
  'an approval is waited for': {
    patch: method(Requests.prototype, 'answerTo', () => () => Promise.resolve({ ok: true })),
  },
  'a result is of its call': { tamper: events(EVENT.toolResult, (data) => ({ ...data, call: 'other' })) },
  'all readers see the same': {
    tamper: events(EVENT.toolResult, (data, sid) => (sid % 2 === 0 ? { ...data, ms: -1 } : data)),
  },
  'a receipt says whether the tool has finished': {
    tamper: events(EVENT.toolResult, (data) =>
      data['receipt'] ? { ...data, receipt: { ...data['receipt'], settled: false } } : data,
    ),
  },
  'children stop with their run': { patch: method(Children.prototype, 'stop', () => () => {}) },
  'a run waits for its children before it settles': { patch: getter(Children.prototype, 'idle', true) },
  'the start of an agent is reported once': { patch: twice('agent.start') },
  'the end of an agent is reported once': { patch: twice('agent.end') },
  'the end of an agent is reported': { patch: unsaid((event) => event.type === 'agent.end') },
  'the end of an agent says what its own end says': {
    tamper: events(EVENT.agentEnd, (data) => ({ ...data, outcome: 0 })),
  },
  'what a child has cost is counted': { patch: method(UsageTally.prototype, 'childSpent', () => () => {}) },
  'what a child has cost is counted once': {
    patch: method(
      UsageTally.prototype,
      'childSpent',
      (original) =>
        function (this: UsageTally, usage) {
          original.call(this, usage)
          original.call(this, usage)
        },
    ),
  },
  'what a child has said is not counted as its run’s own': {
    patch: method(
      Children.prototype,
      'passed',
      (original) =>
        function (this: Children, event, seq) {
          return original.call(this, event, seq) && false
        },
    ),
  },
  'all that a child says is passed on': {
    patch: method(
      LocalReader.prototype,
      'poll',
      (original) =>
        function (this: LocalReader) {
          const event = original.call(this)
          return event && event.seq % 5 === 0 ? original.call(this) : event
        },
    ),
  },
  'a child takes a slot': { patch: method(Quota.prototype, 'checkRuns', () => () => {}) },
  'a run that has settled gives its slot back': {
    patch: method(
      Registry.prototype,
      'quota',
      (original) =>
        function (this: Registry, principal) {
          const quota = original.call(this, principal)
          return new Proxy(quota, { set: (to, name, n) => n < quota.liveRuns || Reflect.set(to, name, n) })
        },
    ),
  },
  'an agent that is cancelled stops': { from: 305, patch: method(Run.prototype, 'cancelAgent', () => () => true) },
  'an agent that goes on is found': { patch: method(Run.prototype, 'cancelAgent', () => () => false) },
  'a cancel of a call reaches children': { patch: onlyOwn('call') },
  'what a child asks is answered at its run': { patch: onlyOwn('request', 'requestOfCall') },
  'the id of a call is given once in a tree': {
    patch: method(CallIds.prototype, 'claimCall', () => (given) => given),
  },
  'the id of a request is given once in a tree': {
    patch: method(CallIds.prototype, 'newRequest', () => () => 'q1'),
  },
  'a run that is paused asks no model': {
    // An agent asks whether it is paused, and a request of any actor waits by itself.
    patch: both(
      getter(Governor.prototype, 'isPaused', false),
      method(Governor.prototype, 'hold', () => () => undefined),
    ),
  },
  'a message to a run that is paused uses no turn': { patch: getter(Orders.prototype, 'isPaused', false) },
  'a message reaches the model': { patch: method(AgentMessages.prototype, 'takeInto', () => function* () {}) },
  'a message reaches the model once': {
    patch: method(
      AgentMessages.prototype,
      'takeInto',
      (original) =>
        function* (this: AgentMessages, conversation) {
          const before = conversation.length
          yield* original.call(this, conversation)
          conversation.push(...conversation.slice(before))
        },
    ),
  },
  'a message that no turn answers is in the conversation': {
    patch: method(AgentMessages.prototype, 'rest', () => () => []),
  },
  'a message that a turn answers is reported': {
    patch: method(AgentMessages.prototype, 'report', () => function* () {}),
  },
  'a report names the turn': {
    patch: method(
      AgentMessages.prototype,
      'report',
      (original) =>
        function* (this: AgentMessages, n) {
          for (const event of original.call(this, n)) yield typeof event === 'object' ? { ...event, n: n + 1 } : event
        },
    ),
  },
  'a stop is for the turn that its sender saw': {
    from: 65,
    patch: method(Orders.prototype, 'turnBegan', () => () => {}),
  },
  'a stop that is not late stops': {
    patch: method(
      Orders.prototype,
      'turnBegan',
      (original) =>
        function (this: Orders, seq) {
          original.call(this, seq + 100)
        },
    ),
  },
  'a budget ends a run': { patch: method(Governor.prototype, 'spentMore', () => () => {}) },
  'a resumed run goes on': {
    patch: method(
      Governor.prototype,
      'order',
      (original) =>
        function (this: Governor, order) {
          const { paused, ...rest } = order
          original.call(this, paused === false ? rest : order)
        },
    ),
  },
}

/** What is open under ids of some kinds is not found where it was passed on. */
function onlyOwn(...kinds: string[]): () => () => void {
  return method(
    OpenIds.prototype,
    'of',
    (original) =>
      function (this: OpenIds, kind, id, run) {
        return original.call(this, kind, id, run).filter((open) => open.run === run || !kinds.includes(kind)) as never
      },
  )
}

/** Logs the events of one type twice. */
function twice(type: RunEvent['type']): () => () => void {
  return method(
    LogWriter.prototype,
    'write',
    (original) =>
      function (this: LogWriter, event) {
        if (typeof event !== 'string' && 'type' in event && event.type === type) original.call(this, event)
        return original.call(this, event)
      },
  )
}

/** Does not log some events. */
function unsaid(which: (event: RunEvent) => boolean): () => () => void {
  return method(
    LogWriter.prototype,
    'write',
    (original) =>
      function (this: LogWriter, event) {
        return typeof event === 'string' || !('type' in event) || !which(event) ? original.call(this, event) : 'nothing'
      },
  )
}

/** The rules, each as the sentence that no longer holds. */
export const BREAKS: { readonly [sentence: string]: Break } = {
  'the gate holds the actor back': { patch: method(Readers.prototype, 'room', () => () => 1) },
  'the gate opens when credit comes': { patch: method(Run.prototype, 'reconsider', () => () => {}) },
  'a rate holds the actor back': {
    patch: method(
      Cursor.prototype,
      'room',
      (original) =>
        function (this: Cursor, limits) {
          return original.call(this, limits, Number.POSITIVE_INFINITY)
        },
    ),
  },
  'an item costs credit': {
    patch: method(
      Cursor.prototype,
      'sent',
      (original) =>
        function (this: Cursor, seq) {
          original.call(this, seq, 0)
        },
    ),
  },
  'a key names one execution': {
    patch: method(
      Registry.prototype,
      'start',
      (original) =>
        function (this: Registry, principal, start, bytes) {
          const { key: _, ...options } = start.options
          return original.call(this, principal, { ...start, options }, bytes)
        },
    ),
  },
  'a HELLO of an earlier attempt changes nothing': {
    patch: method(
      Sessions.prototype,
      'hello',
      (original) =>
        function (this: Sessions, principal, hello, socket) {
          return original.call(this, principal, { ...hello, attempt: ++lateAttempt }, socket)
        },
    ),
  },
  'losing the connection cancels nothing': {
    patch: method(
      Sessions.prototype,
      'lost',
      (original) =>
        function (this: Sessions, session: Session, socket) {
          for (const run of session.runs) run.cancel({ by: 'server', code: 5 })
          original.call(this, session, socket)
        },
    ),
  },
  'a cancel stops the run': { patch: method(Run.prototype, 'cancel', () => () => {}) },
  'a stranger sees no run': {
    patch: method(
      Registry.prototype,
      'find',
      (original) =>
        function (this: Registry, principal, id, after) {
          return original.call(this, { ...principal, rights: ['observe'] }, id, after)
        },
    ),
  },
  'an input is applied once': {
    patch: method(
      Inputs.prototype,
      'take',
      (original) =>
        function (this: Inputs, _mid, input, bytes, by) {
          return original.call(this, `m${++madeUp}`, input, bytes, by)
        },
    ),
  },
  'a list has no run of another principal': {
    // Two rules keep it out: whose list it is, and who may read it.
    patch: both(
      method(
        RunLists.prototype,
        'of',
        (original) =>
          function (this: RunLists) {
            return original.call(this, { id: 'A' })
          },
      ),
      method(Registry.prototype, 'permits', () => () => true),
    ),
  },
  'a list follows every change': { patch: method(RunLists.prototype, 'changed', () => () => {}) },
  'a list is complete before its mark': {
    patch: method(
      RunLists.prototype,
      'of',
      (original) =>
        function (this: RunLists, principal) {
          return [...original.call(this, principal)].slice(1).values()
        },
    ),
  },
  'a change ends with a mark': {
    tamper: down((frame) => (frame.kind === 'listed' && frame.run === undefined && ++marks % 2 === 0 ? [] : [frame])),
  },
  'a gap is reported': { tamper: down((frame) => (frame.kind === 'gap' ? [] : [frame])) },
  'credit arrives': { tamper: up((frame) => (frame.kind === 'credit' ? [] : [frame])) },
  'a view resumes behind the last item that came': {
    tamper: up((frame) => (frame.kind === 'attach' && frame.after ? [{ ...frame, after: frame.after + 1 }] : [frame])),
  },
  'an item arrives as it was sent': {
    tamper: down((frame) =>
      frame.kind === 'event' && typeof frame.data['value'] === 'string'
        ? [{ ...frame, data: { ...frame.data, value: 'a1w1.0' } }]
        : [frame],
    ),
  },
  'the end comes behind the last item': {
    tamper: down((frame) => (frame.kind === 'end' && frame.seq > 2 ? [{ ...frame, seq: frame.seq + 1 }] : [frame])),
  },
  'every reader gets the same end': {
    tamper: down((frame) =>
      frame.kind === 'end' && frame.seq > 0 && frame.sid % 2 === 0 && frame.outcome === 'cancelled'
        ? [{ ...frame, outcome: 'done', data: { ms: 1 } }]
        : [frame],
    ),
  },
}

let lateAttempt = 1_000_000
let madeUp = 0
let marks = 0
