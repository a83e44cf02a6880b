/**
 * Names of the Semantic Conventions for Generative AI, v0.1.0, which are in development: a later release of millrace may
 * follow them. All that are used are here.
 */
export const GEN_AI = {
  operation: 'gen_ai.operation.name',
  provider: 'gen_ai.provider.name',
  agentName: 'gen_ai.agent.name',
  requestModel: 'gen_ai.request.model',
  requestStream: 'gen_ai.request.stream',
  finishReasons: 'gen_ai.response.finish_reasons',
  timeToFirstChunk: 'gen_ai.response.time_to_first_chunk',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  cachedTokens: 'gen_ai.usage.cache_read.input_tokens',
  thinkingTokens: 'gen_ai.usage.reasoning.output_tokens',
  toolName: 'gen_ai.tool.name',
  toolCall: 'gen_ai.tool.call.id',
  toolType: 'gen_ai.tool.type',
  errorType: 'error.type',
} as const

/** Values of `gen_ai.operation.name`. A span's name begins with it. */
export const OPERATION = { agent: 'invoke_agent', model: 'chat', tool: 'execute_tool' } as const

/** `gen_ai.provider.name`, where it differs from the provider's name here. */
export const PROVIDERS: { readonly [provider: string]: string } = { gemini: 'gcp.gemini', google: 'gcp.gemini' }

/** What the conventions have no name for. */
export const MILLRACE = {
  run: 'millrace.run.id',
  outcome: 'millrace.outcome',
  turn: 'millrace.turn',
  cost: 'millrace.usage.cost',
} as const
