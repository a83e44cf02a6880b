import { MillraceError } from '../../../protocol/errors.ts'
import type { ModelEvent, StopReason } from '../model.ts'
import { Refusal } from './refusal.ts'

/** The meaning of the word with which a provider ends an answer. */
export type AnswerEnd = StopReason | 'filtered' | 'failed' | 'paused'

/** The words of all providers, in lower case. */
const WORDS: { readonly [End in AnswerEnd]: readonly string[] } = {
  stop: ['stop', 'end_turn', 'stop_sequence', 'stop_token', 'eos', 'eos_token', 'complete', 'completed', 'done'],
  tool_calls: ['tool_calls', 'tool_call', 'tool_use', 'function_call'],
  length: [
    'length',
    'max_tokens',
    'max_output_tokens',
    'model_length',
    'context_length_exceeded',
    'model_context_window_exceeded',
  ],
  filtered: [
    'content_filter',
    'content_filtered',
    'safety',
    'refusal',
    'sensitive',
    'recitation',
    'blocklist',
    'prohibited_content',
    'spii',
    'language',
    'image_safety',
    'image_prohibited_content',
    'image_recitation',
    'guardrail_intervened',
  ],
  failed: [
    'error',
    'failed',
    'abort',
    'aborted',
    'cancel',
    'cancelled',
    'canceled',
    'interrupted',
    'timeout',
    'network_error',
    'insufficient_system_resource',
    'malformed_function_call',
    'unexpected_tool_call',
    'too_many_tool_calls',
    'missing_thought_signature',
    'malformed_response',
    'no_image',
    'image_other',
    'load',
    'unload',
  ],
  paused: ['pause_turn'],
  other: [],
}

const ENDS = new Map(Object.entries(WORDS).flatMap(([end, words]) => words.map((word) => [word, end as AnswerEnd])))

/** Returns what the word means: `other` for an unknown one. Gemini puts a word of its own in front of some. */
export function answerEnd(word: string): AnswerEnd {
  return ENDS.get(word.toLowerCase().replace(/^.*: /s, '')) ?? 'other'
}

/**
 * Why a whole answer has stopped.
 * @param end undefined where the provider has given no mark of an end.
 * @param word the provider's own word for it.
 * @throws MillraceError or Refusal for an answer that is not whole.
 */
export function stopReasonOf(end: AnswerEnd | undefined, word: string): StopReason {
  switch (end) {
    case undefined:
      throw truncated()
    case 'filtered':
      throw filtered()
    case 'failed':
      throw new Refusal(undefined, word)
    case 'paused':
      return 'other'
    default:
      return end
  }
}

/** The error of an answer without a mark of its end. */
export function truncated(): MillraceError {
  return new MillraceError('truncated', "the model's answer ended too early: start the run again")
}

/** The error of an answer that the provider has filtered. */
export function filtered(): MillraceError {
  return new MillraceError('content_filtered', "the provider's content filter stopped the answer")
}

/** A message for people about an end that is `other`. Only a plain word is quoted: anything else may be anything. */
export function unknownEnd(word: string): string {
  const quote = /^[\w.-]{1,64}$/.test(word) ? `: ${word}` : ''
  return `the model's answer ended for an unknown reason${quote}`
}

/** The event about lines of an answer that were left out. */
export function malformedLines(count: number): ModelEvent {
  const lines = count === 1 ? '1 line' : `${count} lines`
  return { type: 'warning', code: 'malformed_line', message: `skipped ${lines} of the model's answer: malformed` }
}
