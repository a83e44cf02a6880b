import {
  type CallToolResult,
  Client,
  type InputRequiredResult,
  isInputRequiredResult,
  type PriorDiscovery,
  type Progress,
  type Tool,
} from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'
import type { ToolContext } from '../../actors/tool.ts'
import { untilAborted } from '../../streams/until-aborted.ts'
import { wait } from '../../streams/wait.ts'
import { callError, isGone, isUnsent, reachError } from './call-error.ts'
import { type Link, openLink } from './link.ts'
import { type Ask, elicit } from './questions.ts'
import type { ServerSettings } from './server-options.ts'

/** How often a server may ask for more input before it answers one call. */
const MAX_ROUNDS = 8
/** The longest time that a timer takes. */
const NEVER_MS = 2 ** 31 - 1
/** Several changes of a list within this time are one. */
const DEBOUNCE_MS = 20

/** What a call uses of its context. */
export type CallContext = Pick<ToolContext, 'signal' | 'progress' | 'fence'> & { readonly request: Ask }

/** A connection that stands, and the calls that go through it. */
type Live = { readonly client: Client; readonly link: Link; readonly calls: Set<CallContext>; isDropped: boolean }

/** What becomes of what a server says without being asked. */
export type ConnectionCallbacks = {
  /** The tools of the server, after it was connected and after each change. @throws MillraceError if they are refused. */
  tools(tools: readonly Tool[]): void
  /** The list of tools could not be renewed: the last one stays. */
  failed(error: MillraceError): void
}

/**
 * One MCP server. It is connected when it is first needed, and again after it was lost. Calls run at the same time. A
 * call that surely never reached the server is sent once more; one that may have reached it is not.
 */
export class Connection {
  readonly #settings: ServerSettings
  readonly #callbacks: ConnectionCallbacks
  #live: Promise<Live> | undefined
  /** What the last connection found out about the protocol of a program: asking again would start it twice. */
  #prior: PriorDiscovery | undefined

  constructor(settings: ServerSettings, callbacks: ConnectionCallbacks) {
    this.#settings = settings
    this.#callbacks = callbacks
  }

  /** Connects, unless it is connected, and lists the tools. @throws MillraceError `unavailable` when that fails. */
  async open(): Promise<void> {
    await this.#opened()
  }

  /** Closes the connection and ends the server's process. The next call opens it again. */
  async close(): Promise<void> {
    const live = await this.#live?.catch(() => undefined)
    if (!live) return
    this.#drop(live)
    await live.link.close()
  }

  /**
   * Calls a tool. When the signal aborts, it cancels the call at the server and rejects once the cancel has been sent. It
   * stays pending where no cancel reaches the server: until the answer, for the time limit of a call at most.
   */
  async call(tool: Tool, args: unknown, context: CallContext): Promise<CallToolResult> {
    for (let attempt = 1; ; attempt++) {
      const live = await untilAborted(this.#opened(), context.signal)
      try {
        return await this.#callOn(live, tool, args as Record<string, unknown>, context)
      } catch (error) {
        context.signal.throwIfAborted()
        if (isGone(error)) this.#drop(live)
        if (attempt > 1 || !isUnsent(error)) throw callError(this.#settings, error)
      }
    }
  }

  #opened(): Promise<Live> {
    if (this.#live) return this.#live
    const live = this.#connect()
    this.#live = live
    live.catch(() => {
      if (this.#live === live) this.#live = undefined
    })
    return live
  }

  async #connect(): Promise<Live> {
    const { connectMs } = this.#settings
    const link = openLink(this.#settings)
    const client = new Client(
      { name: 'millrace', version: '1' },
      {
        capabilities: { elicitation: { form: {} } },
        // Without it, no cancel would reach a server that keeps no sessions.
        versionNegotiation: { mode: 'auto', probe: { timeoutMs: connectMs } },
        // A question is answered by the people of the run whose call asked it, so each call answers its own.
        inputRequired: { autoFulfill: false },
        listChanged: {
          tools: { autoRefresh: false, debounceMs: DEBOUNCE_MS, onChanged: () => void this.#refresh(live) },
        },
      },
    )
    const live: Live = { client, link, calls: new Set(), isDropped: false }
    client.setRequestHandler('elicitation/create', async ({ params }) => {
      const asking = callThatAsks(live.calls)
      return asking ? elicit(asking.request, params) : { action: 'cancel' }
    })
    client.onclose = () => this.#drop(live)
    try {
      await client.connect(link.transport, { timeout: connectMs, ...(this.#prior && { prior: this.#prior }) })
      this.#callbacks.tools(await this.#list(client))
    } catch (error) {
      this.#prior = undefined
      await link.close().catch(() => {})
      throw reachError(this.#settings, error)
    }
    if (client.getProtocolEra() === 'legacy') this.#prior = { kind: 'legacy' }
    // Changes of the list are no longer reported: the next call connects anew, and lists the tools.
    const drop = (): void => this.#drop(live)
    client.autoOpenedSubscription?.closed.then(drop, drop)
    return live
  }

  async #list(client: Client): Promise<readonly Tool[]> {
    const { name, connectMs } = this.#settings
    if (!client.getServerCapabilities()?.tools)
      throw new MillraceError('unavailable', `the MCP server ${name} offers no tools`)
    return (await client.listTools(undefined, { cacheMode: 'refresh', timeout: connectMs })).tools
  }

  async #refresh(live: Live): Promise<void> {
    try {
      this.#callbacks.tools(await this.#list(live.client))
    } catch (error) {
      if (!live.isDropped) this.#callbacks.failed(reachError(this.#settings, error))
    }
  }

  /** Takes no more calls on this connection. Those that are open end first. */
  #drop(live: Live): void {
    live.isDropped = true
    void this.#live?.then(
      (current) => {
        if (current === live) this.#live = undefined
      },
      () => {},
    )
    this.#closeIdle(live)
  }

  #closeIdle({ isDropped, calls, link }: Live): void {
    if (isDropped && calls.size === 0) link.close().catch(() => {})
  }

  async #callOn(live: Live, tool: Tool, args: Record<string, unknown>, context: CallContext): Promise<CallToolResult> {
    const { client, link, calls } = live
    const { signal } = context
    const { timeoutMs } = this.#settings
    const controller = new AbortController()
    let sent: Promise<void> | undefined
    const stop = (): void => {
      // The package sends this reason to the server: it must not be the user's.
      controller.abort('cancelled')
      sent = link.cancelSent()
    }
    const isCancellable = this.#isCancellable(live)
    if (isCancellable) signal.addEventListener('abort', stop, { once: true })
    calls.add(context)
    try {
      return await this.#rounds(client, tool, args, context, {
        signal: controller.signal,
        timeout: isCancellable ? NEVER_MS : timeoutMs,
        onprogress: ({ progress, total, message }: Progress) =>
          void context.progress({
            current: progress,
            ...(total !== undefined && { total }),
            ...(message !== undefined && { message }),
          }),
      })
    } catch (error) {
      // A cancel that did not get through stopped nothing. That is what the receipt says of a call that does not settle.
      await sent?.catch(() => wait(timeoutMs, new AbortController().signal))
      throw error
    } finally {
      signal.removeEventListener('abort', stop)
      calls.delete(context)
      this.#closeIdle(live)
    }
  }

  /** Calls the tool, and again with what the server asked for, until it answers. */
  async #rounds(
    client: Client,
    tool: Tool,
    args: Record<string, unknown>,
    context: CallContext,
    options: { signal: AbortSignal; timeout: number; onprogress: (progress: Progress) => void },
  ): Promise<CallToolResult> {
    // The package would compile the schema for each call. `OutputSchema` checks the output.
    const { outputSchema: _, ...toolDefinition } = tool
    let more = {}
    for (let round = 0; round <= MAX_ROUNDS; round++) {
      const answer: CallToolResult | InputRequiredResult = await client.callTool(
        { name: tool.name, arguments: args, ...more },
        { ...options, toolDefinition, allowInputRequired: true },
      )
      if (!isInputRequiredResult(answer)) return answer
      const { inputRequests = {}, requestState } = answer
      const inputResponses: Record<string, unknown> = {}
      for (const [key, { method, params }] of Object.entries(inputRequests)) {
        if (method !== 'elicitation/create') throw new MillraceError('unsupported', `it asked for ${method}`)
        inputResponses[key] = await elicit(context.request, params)
      }
      more = { inputResponses, ...(requestState !== undefined && { requestState }) }
    }
    throw new MillraceError('tool_failed', `it asked for input more than ${MAX_ROUNDS} times`)
  }

  /** Whether a cancel can reach the server: not if it forgets each request, and takes a cancel for another one. */
  #isCancellable({ client, link }: Live): boolean {
    const { type } = this.#settings.reach
    return type === 'program' || client.getProtocolEra() === 'modern' || link.transport.sessionId !== undefined
  }
}

/**
 * The call that a server's question belongs to. In the older protocol, a question does not say. If calls of several runs
 * are open, it must not be guessed: the answer of one person would go into the call of another.
 */
function callThatAsks(calls: ReadonlySet<CallContext>): CallContext | undefined {
  const [first, ...others] = calls
  return others.every(({ fence }) => fence.run === first?.fence.run) ? first : undefined
}
