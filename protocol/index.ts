export type { ActorMap, ActorTypes, AnswerOf, DataOf, InputOf, ResultOf } from './actors.ts'
export { Balance, CreditWindow, costOf } from './credit.ts'
export { decodeDown, decodeUp } from './decode.ts'
export { encodeDown, encodeUp } from './encode.ts'
export type { CloseAction, ErrorCode, ErrorOptions, ErrorShape } from './errors.ts'
export { CLOSE, closeAction, MillraceError, ProtocolFault } from './errors.ts'
export type {
  AnyData,
  GapEvent,
  LaneType,
  PlainEvent,
  Progress,
  RunEnd,
  RunEvent,
  StreamEvent,
  TextEvent,
  ToolOutcome,
} from './events.ts'
export { EVENT, fromWire, TOOL_OUTCOMES, toWire } from './events.ts'
export type { Feature } from './features.ts'
export { FEATURES } from './features.ts'
export type * from './frames.ts'
export { GAP_REASONS, INPUT_STATUSES, ON_DETACH, OUTCOMES, POLICIES, SUBPROTOCOL, TAG } from './frames.ts'
export type {
  InspectedReader,
  InspectedRun,
  InspectedSession,
  InspectorChanges,
  InspectorUpdate,
  ReaderFacts,
  RunFacts,
  RunFigures,
} from './inspector.ts'
export { InspectorState } from './inspector.ts'
export type { Limits } from './limits.ts'
export { DEFAULT_LIMITS, resolveLimits } from './limits.ts'
export type { CancelCause, CancelReason, Receipt, TargetReceipt, Usage } from './receipt.ts'
export { CANCEL_CODES, readReceipt, writeReceipt } from './receipt.ts'
export type { ClientRuntime, Runtime, Timer } from './runtime.ts'
export { scan } from './scan.ts'
