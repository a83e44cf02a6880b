import type { StreamEvent } from '../../protocol/events.ts'

/** The events that are not text. */
type PrintedEvent = Exclude<StreamEvent, { text: string }>

/** Maximum length of a JSON value in a line, in UTF-16 units. */
const MAX_JSON_CHARACTERS = 160

/** Describes an event in one line, without the name of its agent. Undefined for an event that needs no line. */
export function eventWords(event: PrintedEvent): string | undefined {
  switch (event.type) {
    case 'tool.call':
      return `calls ${event.name} ${json(event.args)}${event.client ? ' (at the client)' : ''} as ${event.call}`
    case 'tool.progress':
      return `${event.call}: ${[event.progress && progressWords(event.progress), event.note].filter(Boolean).join(' ')}`
    case 'tool.result':
      return resultWords(event)
    case 'request':
      return `asks (${event.kind}, request ${event.id}): ${event.prompt ?? json(event.schema)}`
    case 'iteration':
      return event.n > 1 ? `turn ${event.n} of at most ${event.max}` : undefined
    case 'iteration.end':
    case 'usage':
      return undefined
    case 'retry':
      return `${event.provider ?? 'the provider'} failed (${event.code}): retry ${event.attempt} in ${event.delayMs} ms`
    case 'progress':
      return `progress: ${progressWords(event)}`
    case 'step':
      return `step ${event.name}: ${event.status}${event.error === undefined ? '' : `, ${event.error}`}`
    case 'agent.start':
      return event.agent === undefined ? `agent ${event.name} starts` : `starts as ${event.agent}`
    case 'agent.end':
      return agentEndWords(event)
    case 'data':
      return `${event.name}: ${json(event.value)}`
    case 'warning':
      return `warning: ${event.message}`
    case 'notice':
      return noticeWords(event.code)
    case 'gap':
      return gapWords(event)
  }
}

/** What a run says of itself. Undefined: whoever sent the input is told that it was taken. */
function noticeWords(code: string): string | undefined {
  switch (code) {
    case 'input_taken':
      return undefined
    case 'paused':
    case 'resumed':
      return `the run was ${code}`
    case 'governed':
      return 'the limits of the run were changed'
    default:
      return `notice: ${code.replaceAll('_', ' ')}`
  }
}

function agentEndWords({ outcome, receipt }: Extract<PrintedEvent, { type: 'agent.end' }>): string {
  const by = receipt?.by === 'client' ? 'a client' : `the ${receipt?.by ?? 'server'}`
  return { ok: 'is done', error: 'failed', cancelled: `was cancelled by ${by}` }[outcome]
}

function resultWords(event: Extract<PrintedEvent, { type: 'tool.result' }>): string {
  const { call, outcome, ms, error, output, truncated, receipt } = event
  if (outcome === 'ok') return `${call} after ${ms} ms: ${json(output)}${truncated ? ' (cut off)' : ''}`
  if (outcome === 'error') return `${call} failed after ${ms} ms: ${error ?? ''}`
  const by = receipt?.by === 'client' ? 'a client' : `the ${receipt?.by ?? 'server'}`
  const note = receipt?.note === undefined ? '' : `: ${receipt.note}`
  return `${call} was cancelled by ${by} after ${ms} ms${receipt?.settled === false ? ', but goes on' : ''}${note}`
}

function gapWords({ from, next, reason }: Extract<PrintedEvent, { type: 'gap' }>): string | undefined {
  if (reason === 'policy') return undefined
  if (next <= from) return `items after item ${next - 1} are no longer valid`
  const items = next - from === 1 ? `item ${from} is` : `items ${from} to ${next - 1} are`
  return `${items} missing (${reason === 'retention' ? 'no longer kept' : 'lost'})`
}

function progressWords({ current, total, message }: { current: number; total?: number; message?: string }): string {
  return [total === undefined ? String(current) : `${current}/${total}`, message].filter(Boolean).join(' ')
}

function json(value: unknown): string {
  const text = value === undefined ? '' : (JSON.stringify(value) ?? '')
  return text.length > MAX_JSON_CHARACTERS ? `${text.slice(0, MAX_JSON_CHARACTERS - 1)}…` : text
}
