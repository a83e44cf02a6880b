import type { AgentCapabilities, AgentConfig, AgentSubscriber, BaseEvent, RunAgentInput } from '@ag-ui/client'
import { Observable } from 'rxjs'
import { tap } from 'rxjs/operators'
import type { ActorMap, Client, InputOf, Run, RunEnd, StartOptions } from '../client-sdk/index.ts'
import type { AgUiEvent } from '../formats/ag-ui-event.ts'
import { AgUiEvents, type AgUiOptions, noRunEvents } from '../formats/ag-ui-events.ts'
import { answeredIds, answersOfAgUi, conversationOfAgUi } from '../formats/ag-ui-messages.ts'
import { defined } from '../formats/event-facts.ts'
import { declareTools, sendAnswers } from './run-inputs.ts'
import { readPieces } from './run-pieces.ts'

/** How many events may wait for the subscribers of an agent before the run has to wait. */
const WINDOW = 32

/** The class `AbstractAgent` of `@ag-ui/client`, of either generation. */
export type AgentClass = abstract new (config?: never) => object

/** The options of `millraceAgent`. */
export type MillraceAgentOptions<Actors extends ActorMap, Name extends keyof Actors & string> = {
  /** The client. Its connection carries all threads; the agent never closes it. */
  client: Client<Actors>
  /** The name of the agent, or of any actor, that answers. */
  agent: Name
  /**
   * Makes the input of the agent. Default: `{ messages }`, the whole conversation as agents take it. State, context and
   * forwarded properties are for this function.
   */
  input?: ((input: RunAgentInput) => InputOf<Actors[Name]>) | undefined
  /** Options of every run that is started. Its `meta` also gets `chat`, the id of the thread. Default: none. */
  start?: Pick<StartOptions, 'onDetach' | 'detachMs' | 'timeoutMs' | 'meta' | 'credit'> | undefined
  /** Returns the messages of a thread before its active run, which `connectAgent` shows first. Default: none are shown. */
  history?: ((threadId: string) => readonly unknown[] | PromiseLike<readonly unknown[]>) | undefined
  /** Is called with the end of each run that was read to it, with its receipt. Default: none. */
  onEnd?: ((end: RunEnd, thread: { readonly threadId: string; readonly run: string }) => void) | undefined
  /** The id of the thread. Default: a random one. */
  threadId?: string | undefined
  /** Names the agent. Default: the name of the actor. */
  agentId?: string | undefined
  /** Describes the agent. Default: none. */
  description?: string | undefined
}

/** The members of the stock class that are used or overridden here. Both generations have them. */
interface StockAgent {
  apply(input: RunAgentInput, events: Observable<BaseEvent>, subscribers: AgentSubscriber[]): Observable<unknown>
}

/** What one agent reads now. */
type Reading = {
  run: Run | undefined
  /** The person stopped it before its run was known. */
  isAborted: boolean
  /** Events that the pipeline of the stock class has taken, and those that all subscribers have seen. */
  arrived: number
  seen: number
  wake: () => void
}

/**
 * Makes an agent of AG-UI over a client: `millraceAgent(AbstractAgent, { client, agent: 'chat' })`. `abortRun()` cancels
 * the run; `detachActiveRun()`, or leaving the observable, lets it go on. `connectAgent()` shows the active run of the
 * thread from its beginning. Subscribers that take their time slow the run.
 *
 * A run that needs an approval or an answer ends with an interrupt. `runAgent({ resume: [...] })` answers it: the payload
 * of an approval is `true`, `false` or `{ ok, note?, args? }`.
 * @param AbstractAgent The class of your version of `@ag-ui/client`: 0.0.59 or 1.0 and later.
 */
export function millraceAgent<Actors extends ActorMap, Name extends keyof Actors & string, Base extends AgentClass>(
  AbstractAgent: Base,
  options: MillraceAgentOptions<Actors, Name>,
): InstanceType<Base> {
  const { client, agent, history, onEnd, agentId = agent, threadId, description } = options
  const makeInput = options.input ?? ((input) => ({ messages: conversationOfAgUi(input.messages) }) as never)
  const Stock = AbstractAgent as unknown as new (config: AgentConfig) => StockAgent
  const version = 'maxProtocolVersion' in Stock.prototype ? 1 : 0
  /** By agent, and not in its fields: the stock class makes clones without calling a constructor. */
  const readings = new WeakMap<object, Reading>()

  /** The run of a thread that goes on. */
  const activeRun = async (threadId: string) =>
    (await client.runs()).findLast(
      ({ actor, meta, outcome }) => actor === agent && meta?.['chat'] === threadId && outcome === undefined,
    )

  const declare = (run: Run, { tools, threadId }: RunAgentInput): void => {
    if (tools.length === 0) return
    const specs = tools.map(({ name, description, parameters }) => ({
      name,
      description,
      parameters: (parameters ?? { type: 'object', properties: {} }) as unknown,
    }))
    declareTools(run, threadId, specs)
  }

  /** What is read, and how. Undefined: nothing goes on. */
  type Opened = { run: Run; facts: Pick<AgUiOptions, 'source' | 'history' | 'answered' | 'past'> } | undefined

  const start = async (input: RunAgentInput, reading: Reading): Promise<Opened> => {
    const answers = answersOfAgUi(input)
    const found = answers.length > 0 ? await activeRun(input.threadId) : undefined
    const run: Run = found
      ? client.attach(agent, found.id, { policy: 'pace' })
      : client.start(agent, makeInput(input), {
          ...options.start,
          meta: { ...options.start?.meta, chat: input.threadId },
        })
    reading.run = run
    declare(run, input)
    const { id } = await run.opened
    if (!found) return { run, facts: { source: id } }
    await sendAnswers(run, answers)
    return { run, facts: { source: id, answered: answeredIds(answers), past: found.seq } }
  }

  const attach = async ({ threadId }: RunAgentInput, reading: Reading): Promise<Opened> => {
    const found = await activeRun(threadId)
    if (!found) return undefined
    const run: Run = client.attach(agent, found.id, { policy: 'pace' })
    reading.run = run
    const earlier = await history?.(threadId)
    await run.opened
    return { run, facts: { source: found.id, past: found.seq, ...(earlier && { history: earlier }) } }
  }

  const observe = (
    self: object,
    input: RunAgentInput,
    open: (input: RunAgentInput, reading: Reading) => Promise<Opened>,
  ): Observable<BaseEvent> =>
    new Observable((subscriber) => {
      const reading = readings.get(self) ?? newReading()
      readings.set(self, reading)
      const { threadId: thread, runId } = input
      const emit = (events: readonly AgUiEvent[]): void => {
        for (const event of events) subscriber.next(event as unknown as BaseEvent)
      }

      async function read(): Promise<void> {
        const opened = await open(input, reading)
        if (subscriber.closed) return opened?.run.detach()
        if (!opened) {
          emit(noRunEvents(thread, runId, await history?.(thread)))
          return
        }
        const { run, facts } = opened
        if (reading.isAborted) void run.cancel()
        const format = new AgUiEvents({ thread, run: runId, version, ...facts })
        const pieces = readPieces(run, format, (end) => onEnd?.(end, { threadId: thread, run: facts.source }))
        for (;;) {
          const events = await pieces.next()
          if (!events || subscriber.closed) return
          emit(events)
          while (reading.arrived - reading.seen >= WINDOW && !subscriber.closed)
            await new Promise<void>((resolve) => {
              reading.wake = resolve
            })
        }
      }

      read().then(
        () => subscriber.complete(),
        (error: unknown) => subscriber.error(error),
      )
      return () => {
        readings.delete(self)
        reading.wake()
        reading.run?.detach()
      }
    })

  class MillraceAgent extends Stock {
    run(input: RunAgentInput): Observable<BaseEvent> {
      return observe(this, input, start)
    }

    connect(input: RunAgentInput): Observable<BaseEvent> {
      return observe(this, input, attach)
    }

    abortRun(): void {
      const reading = readings.get(this)
      if (!reading) return
      reading.isAborted = true
      void reading.run?.cancel()
    }

    async getCapabilities(): Promise<AgentCapabilities> {
      return { transport: { streaming: true, websocket: true, resumable: true } }
    }

    /** The subscribers see one event after the other; the last of them tells how far they are. */
    override apply(
      input: RunAgentInput,
      events: Observable<BaseEvent>,
      subscribers: AgentSubscriber[],
    ): Observable<unknown> {
      const reading = newReading()
      readings.set(this, reading)
      const counted = events.pipe(
        tap(() => {
          reading.arrived++
        }),
      )
      const last: AgentSubscriber = {
        onEvent: () => {
          reading.seen++
          reading.wake()
        },
      }
      return super.apply(input, counted, [...subscribers, last])
    }
  }

  // The stock class takes an id that is undefined for one.
  return new MillraceAgent(defined({ agentId, threadId, description })) as unknown as InstanceType<Base>
}

function newReading(): Reading {
  return { run: undefined, isAborted: false, arrived: 0, seen: 0, wake: () => {} }
}
