import type { ErrorCode } from '../../protocol/errors.ts'
import type { RunUsage } from '../../protocol/receipt.ts'

/** What a notice can be about. */
export const NOTICE_TYPES = ['run.ended', 'run.needs_you', 'run.budget'] as const

/**
 * What a notice is about. `run.ended`: a run has its end. `run.needs_you`: a question of a run, or an approval, waits for
 * an answer. `run.budget`: a run has ended because it had used up its budget.
 */
export type NoticeType = (typeof NOTICE_TYPES)[number]

/** The run that a notice is about. */
export type NoticeRun = {
  /** Its id, by which clients attach to it. */
  run: string
  /** The name of its actor. */
  actor: string
  /** The id of the principal that it belongs to. */
  principal: string
  /** When it began, in ISO 8601. */
  startedAt: string
}

/** How a run ended. */
export type NoticeEnd = NoticeRun & {
  /** Its outcome. */
  outcome: 'done' | 'error' | 'cancelled'
  /** With the outcome `error`: the code. Codes of later releases may come. */
  code?: ErrorCode
  /** With the outcome `cancelled`: the side that cancelled. */
  by?: 'client' | 'server' | 'parent'
  /** From its start to its end, in milliseconds. */
  ms: number
  /** What it has cost, with its children. Absent: nothing. */
  usage?: RunUsage
}

/** What a run waits for. */
export type NoticeRequest = NoticeRun & {
  /** The id of the request, for the answer. */
  request: string
  /** The expected sort of answer: `approve` for a tool call, or as the actor says. */
  kind: string
  /** The tool call that is to be approved. */
  call?: string
  /** When the request expires, in ISO 8601. Absent: with the run. */
  expiresAt?: string
  /** Whether a client of its principal read the run just then. */
  attended: boolean
}

type NoticeOf<Type extends NoticeType, Data> = {
  /** The version of this form. It changes when something that receivers read is taken away. */
  version: 1
  /** What it is about. */
  type: Type
  /** When that happened, in ISO 8601. */
  timestamp: string
  /** The name of the server, if it has one. */
  server?: string
  /** What happened. */
  data: Data
}

/** The body of a webhook. It has no input, no text, no `meta` and no message of an error: names, ids, codes and numbers. */
export type RunNotice =
  | NoticeOf<'run.ended', NoticeEnd>
  | NoticeOf<'run.budget', NoticeEnd>
  | NoticeOf<'run.needs_you', NoticeRequest>
