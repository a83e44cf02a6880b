import type { CancelResult, TargetCancelResult } from '../../client-sdk/node.ts'
import type { Receipt } from '../../protocol/receipt.ts'

/** What a cancel did, in lines for people. */
export function cancelWords(result: CancelResult): string[] {
  if (!result.confirmed) {
    if (result.code === 'forbidden') return ['not stopped: this token may watch the run, but not stop it']
    return ['nobody confirmed the stop: the server was not reached, or no longer knows the run']
  }
  switch (result.outcome) {
    case 'done':
      return ['too late to stop it: it was done already']
    case 'error':
      return ['too late to stop it: it had failed already']
    case 'cancelled':
      return receiptWords(result)
  }
}

/** What the cancel of one tool call did, in a line for people. */
export function partCancelWords(call: string, result: TargetCancelResult): string {
  if (!result.confirmed && result.code === 'not_found') return `nothing called ${call} goes on in this run`
  if (!result.confirmed || result.outcome !== 'cancelled') return cancelWords(result).join('; ')
  const { settled, ms, note } = result
  const left = settled ? 'it has ended' : 'it does not heed the stop, and goes on'
  return `stopped ${call} in ${msWords(ms)}: ${left}${note === undefined ? '' : `; note: ${note}`}`
}

/** A receipt, in lines for people: what was stopped, and what is left of it. */
export function receiptWords(receipt: Receipt): string[] {
  const { settled, unsettled, kept, note } = receipt
  const stopped = [
    settled ? 'everything behind it has ended' : `still going on: ${unsettled.map(partWords).join(', ')}`,
    ...providerWords(receipt),
    ...toolWords(receipt),
  ]
  const left = [
    kept === 0 ? 'it had said nothing' : `${kept} ${kept === 1 ? 'item is' : 'items are'} kept`,
    ...usageWords(receipt),
    ...(note === undefined ? [] : [`note: ${note}`]),
  ]
  return [`stopped in ${msWords(receipt.ms)}: ${stopped.join('; ')}`, left.join('; ')]
}

function providerWords({ provider }: Receipt): string[] {
  switch (provider) {
    case 'closed':
      return ["the provider's connection is closed"]
    case 'open':
      return ["the provider's connection did not close in time"]
    case 'none':
      return ['no provider was being asked']
  }
}

function toolWords({ tools }: Receipt): string[] {
  if (tools.length === 0) return []
  return [
    `${tools.length === 1 ? 'one tool call was' : `${tools.length} tool calls were`} stopped (${tools.join(', ')})`,
  ]
}

function usageWords({ usage }: Receipt): string[] {
  if (!usage) return []
  // Cut off, a provider states no usage: what came is then all one knows.
  if (!usage.exact) return [`the model gave at least ${usage.output} tokens`]
  return [`the model took ${usage.input} tokens and gave ${usage.output}`]
}

function partWords(part: string): string {
  if (part === 'actor') return 'the actor, which does not heed the stop'
  if (part === 'provider') return "the provider's request"
  return `tool call ${part}`
}

function msWords(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
