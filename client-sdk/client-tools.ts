import { MillraceError } from '../protocol/errors.ts'
import type { ClientRuntime } from '../protocol/runtime.ts'
import type { Run } from './run.ts'
import { systemRuntime } from './runtime.ts'

/** The part of a Standard Schema (https://standardschema.dev) that client tools use. */
interface ToolSchema {
  readonly '~standard': {
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly types?: { readonly input: unknown; readonly output: unknown } | undefined
  }
}

type Validated = { value?: unknown; issues?: readonly { message: string; path?: readonly unknown[] }[] }

/** What a schema makes of the arguments of a call. */
type ArgsOf<Schema> = Schema extends { readonly '~standard': { readonly types?: infer Types } }
  ? NonNullable<Types> extends { output: infer Output }
    ? Output
    : unknown
  : unknown

/** The second argument of a client tool. */
export type ClientToolContext = {
  /** The id of the call. It names a side effect that must not happen twice, also where another page runs the call again. */
  readonly call: string
  /** Aborts when the call or the run is stopped, when another page has been given the call, and when the loop ends. */
  readonly signal: AbortSignal
}

/** A tool that a client declares and runs. */
export type ClientTool<Schema extends ToolSchema | undefined = undefined> = {
  /** Tells the model what the tool does and when to use it. */
  description: string
  /** Checks and transforms the arguments; any Standard Schema. The model sees the issues. Default: accepts anything. */
  input?: Schema
  /** JSON Schema of the arguments; its root is an object. Default: taken from `input`, if its library provides it, as zod does. */
  parameters?: { readonly [name: string]: unknown } | undefined
  /** Runs the call. The output is text or plain data. The model sees the message of an error that it throws. */
  run: (args: ArgsOf<Schema>, context: ClientToolContext) => unknown
}

/** The options of `clientTools`. */
export type ClientToolsOptions = {
  /**
   * Names this page, in at most 64 characters. A page that declares its tools under the same name after a reload gets its
   * open calls again at once. Pages that are open at the same time need different names. Default: a random one.
   */
  id?: string | undefined
  /** A cryptographic source for the random name. Default: the system's. */
  runtime?: Pick<ClientRuntime, 'randomBytes'> | undefined
}

/** The data of an event that gives a call to a client. */
type GivenCall = { to: string; call: string; name: string; args: unknown }

/**
 * Declares tools that this client runs, and yields the events of the run: `for await (const event of clientTools(run, {
 * ... }))`. It runs the calls while the loop goes on. Each loop turn takes the run's next event, as with the run itself;
 * the events that give calls to clients are left out. It ends as its source does. Leaving its loop leaves the source.
 *
 * Use it directly after `start`, so that the model knows the tools from its first turn on, and after `attach`, so that
 * this page can take over the calls of one that has gone.
 * @param run A run of an agent with `clientTools: true`.
 * @param tools The tools by name: 1 to 64 of the characters `a-z A-Z 0-9 _ -`. At most 32.
 * @throws MillraceError `bad_request` for a schema that provides no JSON Schema where `parameters` is missing. The loop
 * throws `invalid_input` for an agent that takes no tools of clients, for a name that the agent's own tools have, and for
 * tools that are too large.
 */
export function clientTools<
  Event extends { readonly type: string },
  Schemas extends { [name: string]: ToolSchema | undefined },
>(
  run: AsyncIterable<Event, undefined> & Pick<Run, 'send'>,
  tools: { [Name in keyof Schemas]: ClientTool<Schemas[Name]> },
  options: ClientToolsOptions = {},
): AsyncIterableIterator<Event, undefined> {
  const { runtime = systemRuntime, id = Array.from(runtime.randomBytes(16)).join('') } = options
  const byName = new Map(Object.entries(tools)) as unknown as ReadonlyMap<string, ClientTool>
  const specs = Array.from(byName, ([name, { description, input, parameters = parametersOf(name, input) }]) => ({
    name,
    description,
    parameters,
  }))
  const running = new Map<string, AbortController>()
  /** Resolves once the run has answered the declaration; rejects if it refuses the tools. Undefined from then on. */
  let declared: Promise<void> | undefined

  function declare(): void {
    const answer = run.send('tools', { id, tools: specs }).then(
      () => {},
      (error: unknown) => {
        // That the run is over, or lost, its own loop says.
        if (hasCode(error, 'invalid_input', 'forbidden', 'bad_request')) throw error
      },
    )
    declared = answer
    const known = (): void => {
      if (declared === answer) declared = undefined
    }
    answer.then(known, () => {})
  }

  function stop(call: string): void {
    running.get(call)?.abort(new MillraceError('cancelled', 'the call was stopped'))
    running.delete(call)
  }

  async function perform({ call, name, args }: GivenCall): Promise<void> {
    if (running.has(call)) return
    const controller = new AbortController()
    const { signal } = controller
    running.set(call, controller)
    const answer = (result: object): Promise<unknown> =>
      signal.aborted ? Promise.resolve() : run.send('tool.result', { call, ...result })
    const fail = (error: unknown): Promise<unknown> =>
      answer({ error: error instanceof Error ? error.message : String(error) })
    try {
      const tool = byName.get(name)!
      const output = await tool.run(await checked(tool.input, args), { call, signal })
      // Output that cannot travel, or is too large, is an error that the model can see.
      await answer({ output }).catch((error: unknown) =>
        hasCode(error, 'invalid_input', 'overloaded', 'bad_request') ? fail(error) : undefined,
      )
    } catch (error) {
      // A result that comes too late is refused; the call has its result then.
      await fail(error).catch(() => {})
    } finally {
      if (running.get(call) === controller) running.delete(call)
    }
  }

  /** Whether an event is for the application. Others are about calls. */
  function take(event: Event): boolean {
    const { type, name, value, call } = event as { type: string; name?: unknown; value?: unknown; call?: string }
    if (type === 'tool.result' && call !== undefined) stop(call)
    // A call may have been among the items that are missing: it is given again.
    if (type === 'gap') declare()
    if (type !== 'data' || name !== 'client.tool') return true
    const given = value as GivenCall
    if (given.to === id) void perform(given)
    else stop(given.call)
    return false
  }

  function stopAll(): void {
    for (const call of [...running.keys()]) stop(call)
  }

  declare()
  const source = run[Symbol.asyncIterator]()
  return {
    async next() {
      try {
        for (;;) {
          const step = source.next()
          // A refusal ends the loop, whatever comes next. Otherwise the race is for the next event.
          const { value, done } = await (declared ? Promise.race([declared.then(() => step), step]) : step)
          if (done) break
          if (take(value)) return { value, done: false }
        }
        await declared
        stopAll()
        return { value: undefined, done: true }
      } catch (error) {
        stopAll()
        // After a refusal, the run is left like any loop that throws.
        void source.return?.()
        throw error
      }
    },
    async return() {
      stopAll()
      await source.return?.()
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return MillraceError.is(error) && codes.includes(error.code)
}

function parametersOf(name: string, input: ToolSchema | undefined): unknown {
  if (input === undefined) return { type: 'object', properties: {} }
  const standard = input['~standard'] as { jsonSchema?: { input(options: { target: string }): unknown } }
  if (standard.jsonSchema) return standard.jsonSchema.input({ target: 'draft-2020-12' })
  throw new MillraceError('bad_request', `the schema of ${name} provides no JSON Schema: pass it as \`parameters\``)
}

async function checked(input: ToolSchema | undefined, args: unknown): Promise<never> {
  if (input === undefined) return args as never
  const { issues, value } = (await input['~standard'].validate(args)) as Validated
  if (issues)
    throw new Error(
      `invalid arguments: ${issues.map(({ message, path = [] }) => [...path.map(String), message].join(': ')).join('; ')}`,
    )
  return value as never
}
