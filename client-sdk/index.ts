export type { ActorMap, ActorTypes, AnswerOf, DataOf, InputOf, ResultOf } from '../protocol/actors.ts'
export type { ErrorCode } from '../protocol/errors.ts'
export { MillraceError } from '../protocol/errors.ts'
export type {
  AnyData,
  GapEvent,
  Progress,
  RunEnd,
  RunEvent,
  StreamEvent,
  ToolOutcome,
} from '../protocol/events.ts'
export type { Key, OnDetach, Policy, RunState } from '../protocol/frames.ts'
export type {
  InspectedReader,
  InspectedRun,
  InspectedSession,
  InspectorChanges,
  InspectorUpdate,
  ReaderFacts,
  RunFacts,
  RunFigures,
} from '../protocol/inspector.ts'
export { InspectorState } from '../protocol/inspector.ts'
export type { CancelReason, Receipt, RunUsage, TargetReceipt, Usage } from '../protocol/receipt.ts'
export { addUsage } from '../protocol/receipt.ts'
export type { ClientRuntime, Runtime, Timer } from '../protocol/runtime.ts'
export type { UploadReference } from '../protocol/upload.ts'
export type { CancelOptions, CancelResult, CancelTarget, TargetCancelResult } from './cancel.ts'
export type {
  AnswerOptions,
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
export type { ClientTool, ClientToolContext, ClientToolsOptions } from './client-tools.ts'
export { clientTools } from './client-tools.ts'
export type { Collected, CollectOptions } from './collect.ts'
export { collect } from './collect.ts'
export type { Delays, Status, StatusListener } from './connection.ts'
export { only } from './only.ts'
export type { Partially } from './partial-object.ts'
export { partialObject } from './partial-object.ts'
export type { InputType, OnRequest, RequestEvent, Run } from './run.ts'
export type { ListedRun } from './run-list.ts'
export type { SmoothOptions } from './smooth.ts'
export { smooth } from './smooth.ts'
export type { WebSocketClass, WebSocketLike } from './socket.ts'
export type { Delivery, InputTaken, Position, SentInput } from './stream.ts'
export type { UploadOptions } from './upload.ts'
export { upload } from './upload.ts'
