import { describe, expect, test } from 'vitest'
import type { CancelResult, Receipt, StreamEvent } from '../../client-sdk/index.ts'
import { eventWords } from '../../server/cli/event-words.ts'
import { cancelWords } from '../../server/cli/receipt-words.ts'

describe('the command line prints a receipt', () => {
  const receipt: Receipt = {
    reason: 'user',
    by: 'client',
    settled: true,
    unsettled: [],
    provider: 'none',
    tools: [],
    kept: 0,
    ms: 0.4321,
  }
  const cancelled = (more: Partial<Receipt>): CancelResult => ({
    outcome: 'cancelled',
    confirmed: true,
    ...receipt,
    ...more,
  })

  test.each<[string, CancelResult, string[]]>([
    [
      'of a silent run',
      cancelled({}),
      ['cancelled in 0.4 ms: all work has ended; no provider request was open', 'no items are kept'],
    ],
    [
      'of an agent',
      cancelled({
        provider: 'closed',
        tools: ['c1'],
        kept: 36,
        ms: 12.6,
        note: 'too long',
        usage: { input: 0, output: 35, exact: false },
      }),
      [
        "cancelled in 13 ms: all work has ended; the provider's connection is closed; 1 tool call was stopped (c1)",
        '36 items are kept; model tokens: at least 35 out; note: too long',
      ],
    ],
    [
      'of a run that let a child go',
      cancelled({ continuing: ['r_a'], kept: 2 }),
      [
        'cancelled in 0.4 ms: all work has ended; no provider request was open; 1 child goes on as a run of its own (r_a)',
        '2 items are kept',
      ],
    ],
    [
      'of a run that let several children go',
      cancelled({ continuing: ['r_a', 'r_b'] }),
      [
        'cancelled in 0.4 ms: all work has ended; no provider request was open; 2 children go on as runs of their own (r_a, r_b)',
        'no items are kept',
      ],
    ],
    [
      'of what would not stop',
      cancelled({
        settled: false,
        unsettled: ['actor', 'provider', 'c2'],
        provider: 'open',
        tools: ['c1', 'c3'],
        kept: 1,
        ms: 1000,
        usage: { input: 4, output: 1, exact: true },
      }),
      [
        "cancelled in 1000 ms: still open: the actor, which ignores its signal, the provider request, tool call c2; the provider's connection did not close in time; 2 tool calls were stopped (c1, c3)",
        '1 item is kept; model tokens: 4 in, 1 out',
      ],
    ],
    ['that came too late', { outcome: 'done', confirmed: true }, ['too late to cancel it: it was done already']],
    ['of a run that failed', { outcome: 'error', confirmed: true }, ['too late to cancel it: it had failed already']],
    [
      'that never came',
      { confirmed: false, code: 'connection_lost' },
      ['the cancel was not confirmed: the server was not reached, or no longer has the run'],
    ],
    [
      'of an observer',
      { confirmed: false, code: 'forbidden' },
      ['not cancelled: this token may observe the run, but not cancel it'],
    ],
  ])('%s', (_name, result, lines) => {
    expect(cancelWords(result)).toEqual(lines)
  })
})

describe('the command line prints an event', () => {
  const at = { seq: 1, at: 0 }

  test.each<[Exclude<StreamEvent, { text: string }>, string | undefined]>([
    [
      { ...at, type: 'tool.call', call: 'c1', name: 'weather', args: { city: 'Oslo' } },
      'calls weather {"city":"Oslo"} as c1',
    ],
    [{ ...at, type: 'tool.progress', call: 'c1', progress: { current: 1, total: 2 }, note: 'half' }, 'c1: 1/2 half'],
    [{ ...at, type: 'tool.result', call: 'c1', outcome: 'ok', output: 21, ms: 5 }, 'c1 after 5 ms: 21'],
    [{ ...at, type: 'tool.result', call: 'c1', outcome: 'error', error: 'no', ms: 5 }, 'c1 failed after 5 ms: no'],
    [
      { ...at, type: 'tool.result', call: 'c1', outcome: 'ok', output: 'x', truncated: true, ms: 5 },
      'c1 after 5 ms: "x" (cut off)',
    ],
    [
      {
        ...at,
        type: 'tool.result',
        call: 'c1',
        outcome: 'cancelled',
        ms: 5,
        receipt: { reason: 'user', by: 'client', note: 'enough', settled: true, ms: 1 },
      },
      'c1 was cancelled by a client after 5 ms: enough',
    ],
    [
      {
        ...at,
        type: 'tool.result',
        call: 'c1',
        outcome: 'cancelled',
        ms: 5,
        receipt: { reason: 'unspecified', by: 'server', settled: false, ms: 1 },
      },
      'c1 was cancelled by the server after 5 ms, but goes on',
    ],
    [{ ...at, type: 'request', id: 'q1', kind: 'confirm', prompt: 'Sure?' }, 'asks (confirm, request q1): Sure?'],
    [{ ...at, type: 'iteration', n: 1, max: 8 }, undefined],
    [{ ...at, type: 'iteration', n: 2, max: 8 }, 'turn 2 of at most 8'],
    [{ ...at, type: 'usage', input: 1, output: 2 }, undefined],
    [
      { ...at, type: 'retry', attempt: 1, delayMs: 50, code: 'provider_overloaded', provider: 'openai' },
      'openai failed (provider_overloaded): retry 1 in 50 ms',
    ],
    [{ ...at, type: 'progress', current: 3, total: 10, message: 'reading' }, 'progress: 3/10 reading'],
    [{ ...at, type: 'step', id: 's', name: 'load', status: 'failed', error: 'gone' }, 'step load: failed, gone'],
    [{ ...at, type: 'data', name: 'rows', value: [1, 2] }, 'rows: [1,2]'],
    [{ ...at, type: 'warning', code: 'x', message: 'careful' }, 'warning: careful'],
    [{ ...at, type: 'notice', code: 'input_taken', input: 'i1' }, undefined],
    [{ ...at, type: 'notice', code: 'paused' }, 'the run was paused'],
    [{ ...at, type: 'notice', code: 'governed' }, 'the limits of the run were changed'],
    [{ ...at, type: 'notice', code: 'of_your_own' }, 'notice: of your own'],
    [{ ...at, type: 'gap', from: 3, next: 6, reason: 'retention' }, 'items 3 to 5 are missing (no longer kept)'],
    [{ ...at, type: 'gap', from: 3, next: 4, reason: 'store_lost' }, 'item 3 is missing (lost)'],
    [{ ...at, type: 'gap', from: 3, next: 3, reason: 'rewound' }, 'items after item 2 are no longer valid'],
    [{ ...at, type: 'gap', from: 3, next: 9, reason: 'policy' }, undefined],
  ])('such as %o', (event, words) => {
    expect(eventWords(event)).toBe(words)
  })

  test('cut where it would fill the screen', () => {
    expect(eventWords({ ...at, type: 'data', name: 'x', value: 'y'.repeat(1_000) })).toHaveLength(163)
  })
})
