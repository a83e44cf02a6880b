export type { ActorMap, ActorTypes, DataOf, InputOf, ResultOf } from '../protocol/actors.ts'
export type { ErrorCode } from '../protocol/errors.ts'
export { MillraceError } from '../protocol/errors.ts'
export type { GapEvent, Progress, RunEnd, RunEvent, StreamEvent, ToolOutcome } from '../protocol/events.ts'
export type { Key, OnDetach, Policy } from '../protocol/frames.ts'
export type {
  ReaderFacts,
  RosterChanges,
  RosterReader,
  RosterRun,
  RosterSession,
  RosterUpdate,
  RunFacts,
  RunFigures,
} from '../protocol/inspector.ts'
export { Roster } from '../protocol/inspector.ts'
export type { CancelReason, PartReceipt, Receipt, Usage } from '../protocol/receipt.ts'
export type { ClientRuntime, Runtime, Timer } from '../protocol/runtime.ts'
export type { CancelOptions, CancelResult, PartCancelResult, PartOf } from './cancel.ts'
export type {
  AskOptions,
  AttachOptions,
  Client,
  ClientOptions,
  CloseOptions,
  ReadOptions,
  RunOf,
  StartOptions,
} from './client.ts'
export { createClient } from './client.ts'
export type { Delays, Status, WebSocketClass, WebSocketLike } from './connection.ts'
export { only } from './only.ts'
export type { Answer, InputType, Run } from './run.ts'
export type { SmoothOptions } from './smooth.ts'
export { smooth } from './smooth.ts'
export type { InputTaken, Position } from './stream.ts'
