import { MillraceError } from '../../protocol/errors.ts'
import type { Model } from './model.ts'

/** The models of a server, by id. */
export interface ModelRegistry {
  /** All models, the default model first. */
  readonly models: readonly Model[]
  /**
   * Finds a model by its id. A model object is returned unchanged.
   * @param which Default: the default model.
   * @throws MillraceError `not_found`, with the known ids, for an unknown id and for a missing default model.
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
 * @throws MillraceError `bad_request` when two different models have the same id.
 */
export function modelRegistry(options: ModelRegistryOptions = {}): ModelRegistry {
  const byId = new Map<string, Model>()
  for (const model of [...(options.default ? [options.default] : []), ...(options.models ?? [])]) {
    if ((byId.get(model.id) ?? model) !== model) {
      throw new MillraceError('bad_request', `two models have the id ${model.id}: configure only one of them`)
    }
    byId.set(model.id, model)
  }
  const models = [...byId.values()]
  const fallback = options.default ?? (models.length === 1 ? models[0] : undefined)
  const known = `known models: ${models.length > 0 ? models.map(({ id }) => id).join(', ') : 'none'}`
  return {
    models,
    find(which) {
      if (typeof which === 'object') return which
      const model = which === undefined ? fallback : byId.get(which)
      if (model) return model
      const missing = which === undefined ? 'no model named, and no default model configured' : `unknown model ${which}`
      throw new MillraceError('not_found', `${missing}; ${known}`)
    },
  }
}
