import { MillraceError } from '../../protocol/errors.ts'
import type { Model } from './model.ts'

/** The models of a server, by id. */
export interface ModelRegistry {
  /** All models, the default model first. */
  readonly models: readonly Model[]
  /**
   * Finds a model by its id. A model object is returned unchanged.
   * @param which Default: the default model.
   * @throws MillraceError `not_found` for an unknown id and for a missing default model. A run may pass it on to its
   *   client, so it does not list the known ids. `bad_request` for an object that is no model.
   */
  find(which?: string | Model): Model
}

export type ModelRegistryOptions = {
  /** The model of agents that name none. Default: the model of `models`, if it has exactly one. */
  default?: Model
  /** Further models. Default: none. */
  models?: readonly Model[]
}

/**
 * Makes a registry of models.
 * @throws MillraceError `bad_request` when two different models have the same id, and for what is no model.
 */
export function modelRegistry(options: ModelRegistryOptions = {}): ModelRegistry {
  const byId = new Map<string, Model>()
  for (const model of [...(options.default ? [options.default] : []), ...(options.models ?? [])]) {
    checked(model)
    if ((byId.get(model.id) ?? model) !== model) {
      throw new MillraceError('bad_request', `two models have the id ${model.id}: configure only one of them`)
    }
    byId.set(model.id, model)
  }
  const models = [...byId.values()]
  const fallback = options.default ?? (models.length === 1 ? models[0] : undefined)
  return {
    models,
    find(which) {
      if (typeof which === 'object') return checked(which)
      const model = which === undefined ? fallback : byId.get(which)
      if (model) return model
      const missing =
        which === undefined
          ? 'no model: give the agent one (model: openai(...)), or the server a defaultModel'
          : `unknown model ${which}`
      throw new MillraceError('not_found', missing)
    },
  }
}

function checked(model: Model): Model {
  if (typeof model?.id !== 'string' || typeof model.stream !== 'function') {
    throw new MillraceError(
      'bad_request',
      'a model must have an `id` and `stream`: make one with demo(), openai(name), ollama(name) or code of your own',
    )
  }
  return model
}
