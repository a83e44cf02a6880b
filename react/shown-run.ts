import type {
  AnyData,
  CancelOptions,
  CancelResult,
  CancelTarget,
  InputType,
  MillraceError,
  Progress,
  Receipt,
  RequestEvent,
  Run,
  RunEnd,
  SentInput,
  StartOptions,
  StreamEvent,
  TargetCancelResult,
  Usage,
} from '../client-sdk/index.ts'
import type { RunPart, ToolPart } from './run-parts.ts'

/** The options of `useRun`. Those of `start` are for the runs that it starts. */
export type UseRunOptions<Data extends AnyData = AnyData, Input = unknown> = Omit<StartOptions, 'key' | 'signal'> & {
  /** Shows the run of this id, such as one of `useRuns`. Another id shows another run. Default: none. */
  id?: string | undefined
  /**
   * Shows the newest run of this actor whose `meta` has these values: also after a reload of the page, and in a second
   * tab or on another device as soon as it begins there. Runs that are started here get them as their `meta`. Default:
   * runs are not looked for, and a reload forgets the run.
   */
  follow?: StartOptions['meta']
  /**
   * Starts a run with this input when the component is mounted, once; with `follow`, only if none is found. Later values
   * are ignored: call `start`, or give the component another `key`. Default: nothing is started.
   */
  input?: Input | undefined
  /**
   * What a hidden page does, which draws nothing. `wait`: it does not read on, so that the run stops when it is `credit`
   * items ahead, and nothing is lost. `read`: it reads at most `credit` items a second, so that an answer is completed.
   * While another page of the browser shows the run, a hidden one leaves it in both cases. Default `wait`.
   */
  whenHidden?: 'wait' | 'read' | undefined
  /**
   * Reads the run, and yields its events: `(run) => clientTools(run, { ... })`. It is called again each time the page
   * reads on. Default: the run itself.
   */
  read?: ((run: Run<Data>) => AsyncIterable<StreamEvent<Data>, unknown>) | undefined
  /** Called with each event, texts included, when it is read. Default: none. */
  onEvent?: ((event: StreamEvent<Data>) => void) | undefined
}

/**
 * How far a run is. `finding`: the page looks whether there is one. `idle`: there is none. `opening`: the server has not
 * answered yet. `running` and `stopping`. `done`, `error` and `cancelled`: how it ended. `lost`: this page does not learn
 * how it ends; `error` says why. It reads on when the connection is open again.
 */
export type RunStatus = 'finding' | 'idle' | 'opening' | 'running' | 'stopping' | RunEnd['outcome'] | 'lost'

/** The answer to a request for approval. */
export type Approval =
  | boolean
  | {
      /** Whether the call may run. */
      readonly ok: boolean
      /** Why not, for the model. */
      readonly note?: string
      /** The arguments that it runs with, in place of those of the model. */
      readonly args?: unknown
      /** Whether later calls of the tool in this run need no approval. */
      readonly remember?: boolean
    }

/** A run at one moment. It never changes: the next state is another object, and what did not change in it is the same. */
export type RunState<Data extends AnyData = AnyData, Result = unknown> = {
  /** How far it is. */
  readonly status: RunStatus
  /** Whether it goes on: `opening`, `running` or `stopping`. */
  readonly isLive: boolean
  /** Its id. Undefined until the server has opened it. */
  readonly id: string | undefined
  /** The answer as far as it was read, without what sub-agents said. */
  readonly text: string
  /** What it has said and done, in the order in which the parts began. The latest 1,000 at least. */
  readonly parts: readonly RunPart<Data>[]
  /** The parts that are tool calls. */
  readonly tools: readonly ToolPart[]
  /** All events but texts (`token`, `thinking`, `tool.args`), oldest first. The latest 500 at least. */
  readonly events: readonly StreamEvent<Data>[]
  /** The latest value of each of its `data` events, by name. */
  readonly data: { readonly [Event in Data as Event['name']]?: Event['value'] }
  /** What it asks and nobody has answered: approvals, which have a `call`, and questions. */
  readonly requests: readonly RequestEvent[]
  /** Its progress, if it counts any. */
  readonly progress: Progress | undefined
  /** Its usage, as far as it is known. */
  readonly usage: Usage | undefined
  /** What the actor returned, or its text. Undefined until it is done. */
  readonly result: Result | undefined
  /** Its end. Undefined while it goes on. */
  readonly end: RunEnd<Result> | undefined
  /** What a cancel has stopped, for the status `cancelled`. */
  readonly receipt: Receipt | undefined
  /** Why it failed or was lost, or why it could not be started or found. */
  readonly error: MillraceError | undefined
  /** Whether this page holds it back. */
  readonly isPaused: boolean
  /** The number of the last item that is shown: what `stop({ ifSeq })` takes. 0 before the first. */
  readonly seq: number
  /** The `meta` with which it was started, if this page knows it. */
  readonly meta: StartOptions['meta']
}

/** What a page does with a run. The functions stay the same, need no `this`, and may be called at any time. */
export interface RunActions<Input = never> {
  /**
   * Starts a run, and shows it in place of the one before, which is cancelled (`superseded`) if it goes on. An input
   * that cannot travel is the `error` of the state, as every other failure is.
   * @param options They are added to those of the hook.
   */
  readonly start: (input: Input, options?: StartOptions) => void
  /**
   * Stops the run, or with `{ call }` or `{ agent }` one tool call or sub-agent of it. Resolves with its receipt, or says
   * why there is none. Without a run: `confirmed: false`, `not_found`. It rejects only for options of a wrong type.
   */
  readonly stop: {
    (options: CancelOptions & CancelTarget): Promise<TargetCancelResult>
    (options?: CancelOptions): Promise<CancelResult>
  }
  /** Holds the items back, and with policy `pace` the actor too. */
  readonly pause: () => void
  /** Ends a pause. */
  readonly resume: () => void
  /** Sets the rate, in items a second, and ends a pause. null lifts it. It throws `bad_request` for anything else. */
  readonly throttle: (perSec: number | null) => void
  /** Sends an input to the run, as `send` of a run of the client does. Without a run it rejects with `not_found`. */
  readonly send: (type: InputType, data: unknown) => SentInput
  /**
   * Approves a tool call, or refuses it. Rejects as `send` does; nobody needs to catch that. A request that somebody else
   * has answered is removed from `requests`.
   * @param call The id of the call.
   */
  readonly approve: (call: string, approval: Approval) => Promise<void>
  /** Answers any other request. @param request Its id. */
  readonly answer: (request: string, value: unknown) => Promise<void>
}

/**
 * A run as `useRun` returns it: what is known of it now, and what can be done with it. A component that takes `ShownRun`
 * shows the runs of any actor, and starts none.
 */
export type ShownRun<Data extends AnyData = AnyData, Result = unknown, Input = never> = RunState<Data, Result> &
  RunActions<Input>
