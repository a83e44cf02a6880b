import type { CancelResult, TargetCancelResult } from '../../client-sdk/node.ts'
import type { Receipt } from '../../protocol/receipt.ts'

/** Describes the result of a cancel, in one or more lines. */
export function cancelWords(result: CancelResult): string[] {
  if (!result.confirmed) {
    if (result.code === 'forbidden') return ['not cancelled: this token may observe the run, but not cancel it']
    return ['the cancel was not confirmed: the server was not reached, or no longer has the run']
  }
  switch (result.outcome) {
    case 'done':
      return ['too late to cancel it: it was done already']
    case 'error':
      return ['too late to cancel it: it had failed already']
    case 'cancelled':
      return receiptWords(result)
  }
}

/** Describes the result of a cancel of one tool call, in one line. */
export function targetCancelWords(call: string, result: TargetCancelResult): string {
  if (!result.confirmed && result.code === 'not_found') return `this run has no open tool call ${call}`
  if (!result.confirmed || result.outcome !== 'cancelled') return cancelWords(result).join('; ')
  const { settled, ms, note } = result
  const left = settled ? 'it has ended' : 'it ignores its signal and goes on'
  return `cancelled ${call} in ${msWords(ms)}: ${left}${note === undefined ? '' : `; note: ${note}`}`
}

/** Describes a receipt in two lines: what was stopped, and what is kept. */
export function receiptWords(receipt: Receipt): string[] {
  const { settled, unsettled, kept, note } = receipt
  const stopped = [
    settled ? 'all work has ended' : `still open: ${unsettled.map(unsettledWords).join(', ')}`,
    ...providerWords(receipt),
    ...toolWords(receipt),
    ...continuingWords(receipt),
  ]
  const left = [
    kept === 0 ? 'no items are kept' : `${kept} ${kept === 1 ? 'item is' : 'items are'} kept`,
    ...usageWords(receipt),
    ...(note === undefined ? [] : [`note: ${note}`]),
  ]
  return [`cancelled in ${msWords(receipt.ms)}: ${stopped.join('; ')}`, left.join('; ')]
}

/** The children that go on: each is a run that can be followed by its id. */
function continuingWords({ continuing = [] }: Receipt): string[] {
  if (continuing.length === 0) return []
  const ids = continuing.join(', ')
  return [
    continuing.length === 1
      ? `1 child goes on as a run of its own (${ids})`
      : `${continuing.length} children go on as runs of their own (${ids})`,
  ]
}

function providerWords({ provider }: Receipt): string[] {
  switch (provider) {
    case 'closed':
      return ["the provider's connection is closed"]
    case 'open':
      return ["the provider's connection did not close in time"]
    case 'none':
      return ['no provider request was open']
  }
}

function toolWords({ tools }: Receipt): string[] {
  if (tools.length === 0) return []
  return [`${tools.length === 1 ? '1 tool call was' : `${tools.length} tool calls were`} stopped (${tools.join(', ')})`]
}

function usageWords({ usage }: Receipt): string[] {
  if (!usage) return []
  // A provider that was cut off reports no usage: only the text that arrived was counted.
  if (!usage.exact) return [`model tokens: at least ${usage.output} out`]
  return [`model tokens: ${usage.input} in, ${usage.output} out`]
}

function unsettledWords(name: string): string {
  if (name === 'actor') return 'the actor, which ignores its signal'
  if (name === 'provider') return 'the provider request'
  return `tool call ${name}`
}

function msWords(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
