/**
 * Whether a model calls tools: as it likes, never, at least one, or that one. An agent passes on `required` and a named
 * tool only in the first turn of a run: the model could never answer otherwise.
 */
export type ToolChoice = 'auto' | 'none' | 'required' | { tool: string }

/** How much a model thinks before it answers. */
export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high'

/**
 * How a model answers. What is left out is the provider's own default. A setting that a provider does not have is a
 * `warning` event with the code `unsupported_setting`.
 */
export type ModelSettings = {
  /** Sampling temperature, on the provider's own scale. */
  temperature?: number | undefined
  /** Samples only from the most likely tokens, which together have this probability: above 0, at most 1. */
  topP?: number | undefined
  /** Maximum number of tokens in one answer. */
  maxTokens?: number | undefined
  /** Texts at which the answer stops. */
  stop?: readonly string[] | undefined
  /** Makes answers repeatable, as far as the provider can. */
  seed?: number | undefined
  /** Whether the model calls tools. Without tools it has no effect. */
  toolChoice?: ToolChoice | undefined
  /** How much a model thinks before it answers. A model that cannot think may refuse it. */
  effort?: Effort | undefined
  /** Whether the model may make several calls in one turn. Without tools it has no effect. */
  parallelToolCalls?: boolean | undefined
}

/** The name of a setting. */
export type SettingName = keyof ModelSettings

/** The event about settings that a provider does not have. */
type SettingsWarning = { type: 'warning'; code: 'unsupported_setting'; message: string }

/** A warning about the settings that a provider does not have, if there are any. */
export function unsupportedSettings(provider: string, names: readonly SettingName[]): SettingsWarning[] {
  if (names.length === 0) return []
  const message = `${provider} has no ${names.join(', no ')}: the model answers without`
  return [{ type: 'warning', code: 'unsupported_setting', message }]
}
