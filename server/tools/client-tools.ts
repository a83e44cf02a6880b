import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { TimeLimit } from '../../protocol/time-limit.ts'
import type { Actor, RunInput } from '../actors/actor.ts'
import { type Tool, tool } from '../actors/tool.ts'
import { untilAborted } from '../streams/until-aborted.ts'
import { excerpt, wellFormed } from '../text.ts'
import { type ClientDeclaration, type DeclaredTool, declarationIn } from './client-declaration.ts'

/** How long a call waits for its client to come back, or for a client that runs it. It covers a reload of the page. */
const LEASE_MS = 60_000
/** Time limit of a call, while a client of the principal is there. Most of its tools ask a person something. */
const TIMEOUT_MS = 300_000
/** Clients that may declare tools for one run. */
const MAX_CLIENTS = 64
/** Events that give calls to clients and wait for the readers of the run. */
const MAX_UNTOLD = 256
const MAX_ERROR_CHARACTERS = 1_000

/** The name of the event that gives a call to a client. */
const CALL_EVENT = 'client.tool'

/** What client tools take from their run. */
export type ClientToolsCallbacks = {
  readonly runtime: Pick<Runtime, 'now' | 'setTimer'>
  /** Whether this client reads the run now. */
  isPresent(client: string): boolean
  /** Whether any client of its principal reads the run now. */
  isAttended(): boolean
  emit(event: RunEvent): Promise<number>
  /** A call waits for a client, perhaps as it did in another process. */
  opened(call: string): void
}

/** What became of an input for client tools. */
type Taken = { status: 'accepted' | 'invalid' | 'unwanted' | 'busy'; note?: string }

/** The tools that each client has declared: the secret of the client, its name, and its tools. */
export type DeclaredTools = readonly {
  readonly client: string
  readonly id: string
  readonly tools: readonly (readonly [string, DeclaredTool])[]
}[]

type OpenCall = {
  readonly call: string
  readonly name: string
  readonly args: unknown
  readonly settle: (output: unknown) => void
  readonly fail: (error: MillraceError) => void
  /** The client that the call was given to. Undefined while it waits for one. */
  holder: string | undefined
  /** Clients that had it and did not come back. */
  readonly lost: Set<string>
  readonly limit: TimeLimit
  /** The limit stands still: nobody is there. */
  isUnattended: boolean
  /** Runs while the holder is away, or while there is none. */
  lease: Timer | undefined
}

/**
 * The tools of one run that its clients declare and run. A call is given to one client that declared the tool. When that
 * client goes away and does not come back within the lease, the call is given to another one that is there, and fails if
 * there is none.
 */
export class ClientTools {
  readonly #run: ClientToolsCallbacks
  /** Names that the agent's own tools have. */
  readonly #reserved: readonly string[]
  /** What each client has declared, in the order of the first declarations. */
  readonly #declared = new Map<string, ClientDeclaration>()
  readonly #open = new Map<string, OpenCall>()
  /** The number of calls that were given to a client whose event waits for the gate. */
  #untold = 0

  constructor(run: ClientToolsCallbacks, reserved: readonly string[]) {
    this.#run = run
    this.#reserved = reserved
  }

  /** The declared tools by name. Of two clients that declare one name, the description of the first counts. */
  get tools(): Map<string, Tool> {
    const tools = new Map<string, Tool>()
    for (const declaration of this.#declared.values())
      for (const [name, { description, parameters }] of declaration.tools)
        if (!tools.has(name))
          tools.set(name, {
            ...tool({
              description,
              parameters,
              // Its own limit stands still while nobody is there.
              timeoutMs: Number.POSITIVE_INFINITY,
              run: (args, { call, signal }) => this.#perform(call, name, args, signal),
            }),
            atClient: true,
          })
    return tools
  }

  /**
   * Takes a declaration, or the result of a call. Undefined: the input is neither.
   * @param client The client of the run's own principal that sent it. Undefined: it is another's.
   */
  take({ type, data }: RunInput, client: string | undefined): Taken | undefined {
    if (type !== 'tools' && type !== 'tool.result') return undefined
    if (client === undefined)
      return { status: 'invalid', note: 'only clients of the principal that the run belongs to have tools of it' }
    return type === 'tools' ? this.#declare(client, data) : this.#finish(client, data)
  }

  /** What clients have declared, as another process goes on with it. */
  get declared(): DeclaredTools {
    return Array.from(this.#declared, ([client, { id, tools }]) => ({ client, id, tools: [...tools] }))
  }

  /** Goes on with what clients have declared in another process. */
  restore(declared: DeclaredTools): void {
    for (const { client, id, tools } of declared) this.#declared.set(client, { id, tools: new Map(tools) })
  }

  /** The run goes on elsewhere: nothing expires here any more. */
  freeze(): void {
    for (const open of this.#open.values()) {
      this.#endLease(open)
      open.limit.clear()
    }
    this.#open.clear()
  }

  /** A client has begun or stopped to read the run. */
  presenceChanged(): void {
    for (const open of this.#open.values()) this.#review(open)
  }

  #declare(client: string, data: unknown): Taken {
    const declared = declarationIn(data, this.#reserved)
    if (typeof declared === 'string') return { status: 'invalid', note: declared }
    if (this.#untold >= MAX_UNTOLD)
      return { status: 'busy', note: `${MAX_UNTOLD} events for clients wait to be read; read the run` }
    // A page that was reloaded is another client with the same name.
    const before = [...this.#declared].find(([_, { id }]) => id === declared.id)?.[0]
    if (before !== undefined && before !== client) this.#declared.delete(before)
    if (!this.#declared.has(client) && this.#declared.size >= MAX_CLIENTS)
      return { status: 'busy', note: `${MAX_CLIENTS} clients have tools of this run already` }
    this.#declared.set(client, declared)
    for (const open of this.#open.values()) {
      if (open.holder === undefined) this.#review(open)
      else if (open.holder === before || open.holder === client) this.#give(open, client)
    }
    return { status: 'accepted' }
  }

  #finish(client: string, data: unknown): Taken {
    const { call, output, error } = (data ?? {}) as { call?: unknown; output?: unknown; error?: unknown }
    const open = typeof call === 'string' ? this.#open.get(call) : undefined
    if (!open) return { status: 'unwanted', note: 'nothing waits for a result of this call: it has ended' }
    if (open.holder !== client)
      return { status: 'unwanted', note: 'this call was given to another client, because this one was away too long' }
    // The first result counts, also where a second one comes in the same message.
    this.#open.delete(open.call)
    if (error === undefined) open.settle(output)
    else open.fail(new MillraceError('tool_failed', wordsOf(error)))
    return { status: 'accepted' }
  }

  async #perform(call: string, name: string, args: unknown, signal: AbortSignal): Promise<unknown> {
    let open: OpenCall | undefined
    const result = new Promise((settle, fail) => {
      const limit = new TimeLimit(this.#run.runtime, TIMEOUT_MS, () =>
        fail(new MillraceError('timeout', `the tool took longer than ${TIMEOUT_MS} ms and was stopped`)),
      )
      const state = { holder: undefined, lost: new Set<string>(), lease: undefined, isUnattended: false }
      open = { call, name, args, settle, fail, limit, ...state }
      this.#open.set(call, open)
      this.#review(open)
      this.#run.opened(call)
    })
    try {
      return await untilAborted(result, signal)
    } finally {
      open?.lease?.clear()
      open?.limit.clear()
      this.#open.delete(call)
    }
  }

  /** Gives a call to a client if it has none, and starts or ends its lease. */
  #review(open: OpenCall): void {
    const isUnattended = !this.#run.isAttended()
    if (isUnattended !== open.isUnattended) {
      open.isUnattended = isUnattended
      if (isUnattended) open.limit.pause()
      else open.limit.resume()
    }
    const next = open.holder === undefined ? this.#candidate(open) : undefined
    if (next !== undefined) this.#give(open, next)
    else if (open.holder !== undefined && this.#run.isPresent(open.holder)) this.#endLease(open)
    else open.lease ??= this.#run.runtime.setTimer(LEASE_MS, () => this.#leaseEnded(open))
  }

  #leaseEnded(open: OpenCall): void {
    open.lease = undefined
    if (open.holder !== undefined) open.lost.add(open.holder)
    open.holder = undefined
    const next = this.#candidate(open)
    if (next !== undefined) this.#give(open, next)
    // While nobody is there, the run waits for its clients.
    else if (this.#run.isAttended())
      open.fail(new MillraceError('unavailable', `no client that runs ${open.name} is connected`))
  }

  #give(open: OpenCall, client: string): void {
    this.#endLease(open)
    open.holder = client
    const { call, name, args } = open
    const to = this.#declared.get(client)?.id
    // Waits while the gate is closed: the client reads it then. If the run is over, the call is as well.
    this.#untold++
    const told = (): void => {
      this.#untold--
    }
    this.#run.emit({ type: 'data', name: CALL_EVENT, value: { to, call, name, args } }).then(told, told)
  }

  #endLease(open: OpenCall): void {
    open.lease?.clear()
    open.lease = undefined
  }

  /** The first client that is there, has declared the tool, and has not lost the call. */
  #candidate({ name, lost }: OpenCall): string | undefined {
    for (const [client, { tools }] of this.#declared)
      if (tools.has(name) && !lost.has(client) && this.#run.isPresent(client)) return client
    return undefined
  }
}

function wordsOf(error: unknown): string {
  return typeof error === 'string' ? wellFormed(excerpt(error, MAX_ERROR_CHARACTERS)) : 'the tool failed'
}

/** Refuses a declaration for an actor that takes no tools of clients. Undefined: the input is none, or the actor does. */
export function refusedTools(clientTools: Actor['clientTools'], { type }: RunInput): Taken | undefined {
  if (clientTools !== false || type !== 'tools') return undefined
  return { status: 'invalid', note: 'this agent takes no tools of clients; set `clientTools: true`' }
}
