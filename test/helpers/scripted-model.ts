import type { Message, Model, ModelEvent, ModelRequest, StopReason, ToolCall } from '../../server/models/model.ts'

/** What a model does in one turn: says these things, or is an error. A function may wait, for its signal too. */
export type ScriptedAnswer =
  | readonly (ModelEvent | Error)[]
  | ((request: ModelRequest) => AsyncIterable<ModelEvent> | readonly (ModelEvent | Error)[])

export type ScriptedModel = Model & { readonly asked: (readonly Message[])[] }

/** A model that gives these answers turn by turn, and remembers its requests. The last answer is repeated. */
export function scriptedModel(...answers: ScriptedAnswer[]): ScriptedModel {
  const asked: (readonly Message[])[] = []
  return {
    id: 'demo:scripted',
    provider: 'demo',
    asked,
    async *stream(request) {
      const answer = answers[Math.min(asked.length, answers.length - 1)]!
      asked.push(request.messages)
      for await (const event of typeof answer === 'function' ? answer(request) : answer) {
        request.signal.throwIfAborted()
        if (event instanceof Error) throw event
        yield event
      }
    },
  }
}

/** A turn that says a text and stops. */
export function says(text: string, stop: StopReason = 'stop'): ModelEvent[] {
  return [
    { type: 'text', text },
    { type: 'usage', input: 10, output: 2 },
    { type: 'finish', stop },
  ]
}

/** A turn that calls tools. */
export function calls(...made: ToolCall[]): ModelEvent[] {
  return [
    ...made.map((call): ModelEvent => ({ type: 'tool.call', ...call })),
    { type: 'usage', input: 10, output: 5 },
    { type: 'finish', stop: 'tool_calls' },
  ]
}
