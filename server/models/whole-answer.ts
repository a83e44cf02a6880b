import { MillraceError } from '../../protocol/errors.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { Extra, Model, ModelEvent, ModelRequest, StopReason, ToolCall } from './model.ts'

/** A whole answer of a model that cannot stream. */
export type WholeAnswer = {
  /** Its text. Default: none. */
  text?: string | undefined
  /** What the model thought before. Default: none. */
  thinking?: string | undefined
  /** Its tool calls. Default: none. */
  calls?: readonly ToolCall[] | undefined
  /** What the provider counted. Default: unknown. */
  usage?: Usage | undefined
  /** Default: `tool_calls` for an answer with calls, else `stop`. */
  stop?: StopReason | undefined
  /** What the provider wants back with the answer. Default: nothing. */
  extra?: Extra | undefined
}

/** A model that cannot stream. */
export type WholeModel = {
  /** The id by which actors and the command line name the model: `provider:name`. */
  readonly id: string
  /** The name of the provider. */
  readonly provider: string
  /**
   * Asks the model. It must stop and reject when `request.signal` aborts.
   * @throws MillraceError, as `Model.stream` does.
   */
  complete(request: ModelRequest): Promise<WholeAnswer>
}

/**
 * Makes a model of one that cannot stream. Readers get its answer as one piece; nothing else tells them.
 * @throws MillraceError `bad_request` for a model without `complete`.
 */
export function unstreamed(model: WholeModel): Model {
  const { id, provider } = model
  if (typeof (model as Partial<WholeModel>).complete !== 'function')
    throw new MillraceError('bad_request', 'unstreamed() needs a model with `complete`')
  return {
    id,
    provider,
    async *stream(request): AsyncGenerator<ModelEvent, void, undefined> {
      const { signal } = request
      signal.throwIfAborted()
      for (const event of eventsOf(await model.complete(request))) {
        signal.throwIfAborted()
        yield event
      }
      signal.throwIfAborted()
    },
  }
}

function eventsOf({ text = '', thinking = '', calls = [], usage, stop, extra }: WholeAnswer): ModelEvent[] {
  return [
    ...(thinking === '' ? [] : [{ type: 'thinking', text: thinking } as const]),
    ...(text === '' ? [] : [{ type: 'text', text } as const]),
    ...calls.map((call) => ({ type: 'tool.call', ...call }) as const),
    ...(usage ? [{ type: 'usage', ...usage } as const] : []),
    { type: 'finish', stop: stop ?? (calls.length > 0 ? 'tool_calls' : 'stop'), ...(extra && { extra }) },
  ]
}
