import {
  type AnyData,
  addUsage,
  type Progress,
  type RequestEvent,
  type StreamEvent,
  type Usage,
} from '../client-sdk/index.ts'
import { createRunParts, type RunPart, type RunParts, type ToolPart } from './run-parts.ts'

/** Events that are kept. Half of them are dropped when there are more. */
const MAX_EVENTS = 1_000

/** What the events of a run add up to. */
export type RunFindings<Data extends AnyData = AnyData> = {
  text: string
  parts: readonly RunPart<Data>[]
  tools: readonly ToolPart[]
  events: readonly StreamEvent<Data>[]
  data: { readonly [name: string]: unknown }
  requests: readonly RequestEvent[]
  progress: Progress | undefined
  usage: Usage | undefined
  seq: number
}

/** What a run has said so far, made from its events one by one. */
export interface RunDraft {
  /** Takes over the next event. */
  read(event: StreamEvent): void
  /** Removes a request that was answered, by its id or that of its call. */
  answered(id: string): void
  /** It as it is now. What did not change since is the same object, and what is there never changes. */
  findings(): RunFindings
}

export function createRunDraft(): RunDraft {
  const parts: RunParts = createRunParts()
  const found = { text: '', data: {}, seq: 0, progress: undefined, usage: undefined } as RunFindings
  let events: StreamEvent[] = []
  let requests: readonly RequestEvent[] = []
  let tools: readonly ToolPart[] = []
  /** The events as they were given last, unless others have come since. */
  let listed: readonly StreamEvent[] | undefined

  const close = (isAnswered: (request: RequestEvent) => boolean): void => {
    for (const { call } of requests.filter(isAnswered)) if (call !== undefined) parts.answered(call)
    if (requests.some(isAnswered)) requests = requests.filter((request) => !isAnswered(request))
  }

  return {
    read(event) {
      found.seq = event.seq
      parts.read(event)
      switch (event.type) {
        case 'token':
          if (event.agent === undefined) found.text += event.text
          return
        case 'thinking':
        case 'tool.args':
          return
        case 'request':
          // It comes again where items are missing.
          requests = [...requests.filter(({ id }) => id !== event.id), event]
          break
        case 'tool.progress':
        case 'tool.result':
          close(({ call }) => call === event.call)
          break
        case 'progress':
          if (event.agent === undefined) {
            const { type: _, seq: __, at: ___, ...progress } = event
            found.progress = progress
          }
          break
        case 'usage':
          found.usage = { ...(found.usage ?? { input: 0, output: 0 }) }
          addUsage(found.usage, event)
          break
        case 'data':
          found.data = { ...found.data, [event.name]: event.value }
          break
        default:
      }
      if (events.push(event) > MAX_EVENTS) events = events.slice(MAX_EVENTS / 2)
      listed = undefined
    },

    answered: (id) => close((request) => request.id === id || request.call === id),

    findings() {
      const list = parts.list()
      tools = sameOr(
        tools,
        list.filter((part) => part.type === 'tool'),
      )
      return { ...found, parts: list, tools, requests, events: (listed ??= [...events]) }
    },
  }
}

/** The array of before, if the new one holds the same. */
function sameOr<Item>(before: readonly Item[], now: readonly Item[]): readonly Item[] {
  return before.length === now.length && before.every((item, at) => item === now[at]) ? before : now
}
