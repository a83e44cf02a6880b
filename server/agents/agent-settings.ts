import { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { ModelSettings, SettingName } from '../models/model-settings.ts'

/** The schema of each setting. */
const SETTINGS = {
  temperature: z.number().min(0).exactOptional(),
  topP: z.number().gt(0).max(1).exactOptional(),
  maxTokens: z.int().min(1).exactOptional(),
  stop: z.array(z.string().min(1)).min(1).max(16).exactOptional(),
  seed: z.int().exactOptional(),
  toolChoice: z.union([z.enum(['auto', 'none', 'required']), z.strictObject({ tool: z.string() })]).exactOptional(),
  effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).exactOptional(),
  parallelToolCalls: z.boolean().exactOptional(),
} satisfies { [Name in SettingName]: z.ZodType }

const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[]

const settings = z.strictObject(SETTINGS)

/** The settings of an agent's runs: its own, and those that clients may set for a run. */
export class AgentSettings {
  readonly #own: ModelSettings
  readonly #open: readonly SettingName[]
  readonly #tools: readonly string[]

  /**
   * @param own the settings of every run.
   * @param open the settings that clients may set.
   * @param tools the names of the agent's tools.
   * @throws MillraceError `bad_request` for an invalid setting.
   */
  constructor(own: ModelSettings, open: readonly SettingName[], tools: readonly string[]) {
    this.#own = own
    this.#open = open
    this.#tools = tools
    const unknown = open.find((name) => !SETTING_NAMES.includes(name))
    const problem = this.problemIn(own) ?? (unknown === undefined ? undefined : `unknown setting ${unknown}`)
    if (problem !== undefined) throw new MillraceError('bad_request', `invalid settings of an agent: ${problem}`)
  }

  /** What is wrong with the settings of a client, if anything. */
  problemOfClient(given: ModelSettings): string | undefined {
    const refused = Object.keys(given).find((name) => !(this.#open as readonly string[]).includes(name))
    if (refused === undefined) return this.problemIn(given)
    const known = this.#open.length > 0 ? this.#open.join(', ') : 'none'
    return `this agent takes no setting ${quoted(refused)} of a client; clients may set: ${known}`
  }

  /** The settings of a run. A client's come first, but it gets no more tokens than the agent allows. */
  forRun(ofClient: ModelSettings): ModelSettings {
    const { maxTokens = Number.POSITIVE_INFINITY } = this.#own
    const all = { ...this.#own, ...ofClient }
    return all.maxTokens === undefined ? all : { ...all, maxTokens: Math.min(all.maxTokens, maxTokens) }
  }

  /**
   * What is wrong with some settings, if anything.
   * @param tools the names of the tools that there are. Default: those of the agent.
   */
  problemIn(given: ModelSettings, tools: readonly string[] = this.#tools): string | undefined {
    const { error } = settings.safeParse(given)
    if (error) return error.issues.map(({ path, message }) => [...path, message].join(': ')).join('; ')
    const { toolChoice } = given
    if (typeof toolChoice !== 'object' || tools.includes(toolChoice.tool)) return undefined
    return `toolChoice: this agent has no tool ${quoted(toolChoice.tool)}`
  }
}

/** Text of a client, shortened. */
function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 64))
}

/** The settings of turn `n` of a run, from 1. With a forced call in every turn, the model could never answer. */
export function settingsOfTurn(all: ModelSettings, n: number): ModelSettings {
  const { toolChoice, ...others } = all
  const isForced = toolChoice === 'required' || typeof toolChoice === 'object'
  return isForced && n > 1 ? others : all
}
