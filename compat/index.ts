export type { ChunkProcessor, ChunkProcessorOptions } from './chunk-processor.ts'
export { chunkProcessor } from './chunk-processor.ts'
export type { Chunk, ChunkSource, FailureFacts } from './chunks.ts'
export { toChunks } from './chunks.ts'
export type {
  AskClient,
  AskEvent,
  AskRouter,
  AskTarget,
  DoneEvent,
  ErrorEvent,
  StreamAskOptions,
} from './stream-ask.ts'
export { streamAsk } from './stream-ask.ts'
export type { ServiceStats, StreamingService, StreamingServiceOptions } from './streaming-service.ts'
export { streamingService } from './streaming-service.ts'
export type { SendOptions, SessionOptions, SessionState, SessionStats, StreamingSession } from './streaming-session.ts'
