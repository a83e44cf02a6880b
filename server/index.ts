export type { ActionChunk } from '../formats/action-chunks.ts'
export { actionChunks } from '../formats/action-chunks.ts'
export type { ActorMap, AnswerOf, DataOf, InputOf, ResultOf } from '../protocol/actors.ts'
export type {
  AnswerBegun,
  ConversationFacts,
  ConversationMessage,
  ConversationPage,
  ConversationPart,
  ConversationUpdate,
  FoundMessage,
  FoundPage,
  MessageStatus,
} from '../protocol/conversation.ts'
export type { ErrorCode } from '../protocol/errors.ts'
export { MillraceError } from '../protocol/errors.ts'
export type { AnyData, RunEvent, StreamEvent } from '../protocol/events.ts'
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
export type { Limits } from '../protocol/limits.ts'
export type { Receipt, RunUsage, TargetReceipt, Usage } from '../protocol/receipt.ts'
export type { Runtime, Timer } from '../protocol/runtime.ts'
export type { Sendable } from '../protocol/sendable.ts'
export type { UploadInput, UploadProgress, UploadReference } from '../protocol/upload.ts'
export type {
  Actor,
  ActorContext,
  ContextAi,
  EarlierRun,
  ModelCall,
  Principal,
  Question,
  RemoteActor,
  RunInput,
  RunModel,
} from './actors/actor.ts'
export { actor } from './actors/actor.ts'
export type {
  Action,
  ActorTarget,
  Authorize,
  ConversationTarget,
  RunTarget,
  ServerTarget,
  SessionTarget,
  Target,
} from './actors/authorize.ts'
export type { Budget, ChildRun, ChildState, GovernOptions, Spawn, SpawnOptions } from './actors/child-run.ts'
export type { Right } from './actors/principal.ts'
export type { RemoteOptions } from './actors/remote.ts'
export { remote } from './actors/remote.ts'
export type { ReaderView, RunView, ServerView, SessionView } from './actors/server-view.ts'
export type { StandardSchema } from './actors/standard-schema.ts'
export type {
  ApprovalContext,
  ApprovedTools,
  RunTools,
  Tool,
  ToolAnswer,
  ToolContext,
  ToolDefinition,
  ToolMap,
  ToolProgress,
} from './actors/tool.ts'
export { tool } from './actors/tool.ts'
export { agent } from './agents/agent.ts'
export type { AgentDefinition, AgentStart, AgentStep, FinishContext } from './agents/agent-definition.ts'
export type { AgentInput } from './agents/agent-input.ts'
export type { AgentToolOptions } from './agents/agent-tool.ts'
export { agentTool } from './agents/agent-tool.ts'
export type { ClientFiles, ClientMessage, ClientPart } from './agents/client-files.ts'
export { validConversation } from './agents/conversation.ts'
export type { Orchestrator, TaskAgentDefinition, TaskRequest, TaskResult } from './agents/task-agent.ts'
export { orchestratorTools, taskAgent } from './agents/task-agent.ts'
export type { AgentTurn, TurnOptions } from './agents/turn-plan.ts'
export type { ConversationData, ConversationDefinition, ConversationResult } from './conversations/conversation.ts'
export { conversation } from './conversations/conversation.ts'
export type { ConversationInput } from './conversations/conversation-input.ts'
export type { ConversationLimits } from './conversations/conversation-limits.ts'
export type {
  ConversationKey,
  ConversationStore,
  FoundStoredMessage,
  ListPosition,
  LoadedMessage,
  SharedConversations,
  StoredConversation,
  StoredMessage,
} from './conversations/conversation-store.ts'
export { wordsOf } from './conversations/conversation-store.ts'
export type {
  HistoryContext,
  SummarizeOptions,
  Summary,
  SummaryPolicy,
  WindowPolicy,
} from './conversations/history-policy.ts'
export { lastTurns, summarize } from './conversations/history-policy.ts'
export { memoryConversations } from './conversations/memory-store.ts'
export type { HistoryEntry } from './conversations/message-tree.ts'
export type { RedisConversationsOptions } from './conversations/redis-store.ts'
export { redisConversations } from './conversations/redis-store.ts'
export { sqliteConversations } from './conversations/sqlite-store.ts'
export type { Upload } from './files/upload-store.ts'
export type { Uploads, UploadsOptions } from './files/uploads.ts'
export { uploads } from './files/uploads.ts'
export type { HttpExtension } from './http/extension.ts'
export type { HttpOptions } from './http/http-server.ts'
export type { Peer } from './http/http-surface.ts'
export type { InspectorInput } from './inspector/inspector.ts'
export { inspector } from './inspector/inspector.ts'
export type { LogEvent, LogFields, Logger } from './logging/logger.ts'
export type { MeasuredRun, Metrics, MetricsText, MetricsView, RecordFields } from './metrics/metrics.ts'
export { demo } from './models/demo.ts'
export { fallback } from './models/fallback.ts'
export type { Part } from './models/message-parts.ts'
export { textOf } from './models/message-parts.ts'
export type { ModelMiddleware } from './models/middleware.ts'
export { withMiddleware } from './models/middleware.ts'
export type {
  Extra,
  Message,
  Model,
  ModelEvent,
  ModelRequest,
  OutputFormat,
  Prices,
  StopReason,
  Structured,
  ToolCall,
  ToolSpec,
} from './models/model.ts'
export { ModelFailure } from './models/model-failure.ts'
export type { ModelProvider } from './models/model-registry.ts'
export type { Effort, ModelSettings, SettingName, ToolChoice } from './models/model-settings.ts'
export { priced } from './models/prices.ts'
export { route } from './models/route.ts'
export type { WholeAnswer, WholeModel } from './models/whole-answer.ts'
export { unstreamed } from './models/whole-answer.ts'
export type { DeliveryLimits, NoticeTarget, SendFailure, SendResult } from './notices/notice-target.ts'
export type { NoticeEnd, NoticeRequest, NoticeRun, NoticeType, RunNotice } from './notices/run-notice.ts'
export type { WebhookOptions } from './notices/webhook.ts'
export { webhook } from './notices/webhook.ts'
export type { Recording } from './recordings/recording.ts'
export { openRecording } from './recordings/recording.ts'
export type { RecordingFacts } from './recordings/recording-format.ts'
export type { ReplayOptions } from './recordings/replay.ts'
export { replay } from './recordings/replay.ts'
export type {
  Router,
  RouterAttachOptions,
  RouterCancelOptions,
  RouterOptions,
  RouterStartOptions,
  StreamAskOptions,
} from './router.ts'
export type { MillraceServer } from './server.ts'
export { createServer } from './server.ts'
export type { CloseOptions, ServerOptions, WorkOptions } from './server-options.ts'
export type { Authenticate, Credentials, Identity, JwtClaims, JwtKeyFinder, JwtOptions } from './sessions/auth.ts'
export { anonymous, bearer, jwt } from './sessions/auth.ts'
export { defaultAuthorize } from './sessions/permissions.ts'
export type { DebateOptions, DebateTurn } from './teams/debate-team.ts'
export { debateTeam } from './teams/debate-team.ts'
export type { PipelineOptions } from './teams/pipeline-team.ts'
export { pipelineTeam } from './teams/pipeline-team.ts'
export type { ResearchOptions } from './teams/research-team.ts'
export { researchTeam } from './teams/research-team.ts'
export type { SupervisorOptions } from './teams/supervisor-team.ts'
export { supervisorTeam } from './teams/supervisor-team.ts'
export type { TaskTools } from './teams/task-tools.ts'
export { taskTools } from './teams/task-tools.ts'
export type { KeptTask, Task } from './teams/tasks.ts'
export { Tasks } from './teams/tasks.ts'
export type { Members, TeamInput, TeamOptions } from './teams/team.ts'
export type { ModelTrace, RunTrace, TracedEnd, TracedRun, Tracing } from './tracing/tracing.ts'
export type { MemoryOptions, MemoryTransport, MemoryWebSocketClass } from './transports/memory.ts'
export { memory } from './transports/memory.ts'
export type { MemoryWebSocket, MemoryWebSocketOptions } from './transports/memory-socket.ts'
export type {
  HttpServer,
  RequestPlace,
  RequestTaker,
  Socket,
  SocketAcceptor,
  SocketEvents,
  Transport,
  TransportLimits,
  UpgradeRequest,
  UpgradeVerdict,
} from './transports/transport.ts'
export { ws } from './transports/ws.ts'
export type {
  ActorStepOptions,
  ApproveOptions,
  AskOptions,
  BatchOptions,
  Flow,
  MapOptions,
  StepOptions,
  Steps,
} from './workflows/flow.ts'
export type { RetryPolicy } from './workflows/retry-policy.ts'
export type { StepContext } from './workflows/step-context.ts'
export type { WorkflowDefinition } from './workflows/workflow.ts'
export { workflow } from './workflows/workflow.ts'
export type { FromDataOptions } from './workflows/workflow-from-data.ts'
export { workflowFromData } from './workflows/workflow-from-data.ts'
