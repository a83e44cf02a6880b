import { MillraceError } from '../../protocol/errors.ts'
import type { Model } from './model.ts'

/** The models of a server, found by id. */
export interface ModelRegistry {
  /** All of them, the default one first. */
  readonly models: readonly Model[]
  /**
   * The model of that id, the default one when nothing is named, or a model object itself.
   * @throws MillraceError `not_found`, listing what there is.
   */
  find(which?: string | Model): Model
}

export type ModelRegistryOptions = {
  /** What an agent without a model of its own uses. Default: the only one of `models`, if it is the only one. */
  default?: Model
  models?: readonly Model[]
}

/**
 * Publishes models under their ids.
 * @throws MillraceError `bad_request` when two different models have one id.
 */
export function modelRegistry(options: ModelRegistryOptions = {}): ModelRegistry {
  const byId = new Map<string, Model>()
  for (const model of [...(options.default ? [options.default] : []), ...(options.models ?? [])]) {
    if ((byId.get(model.id) ?? model) !== model) {
      throw new MillraceError('bad_request', `two models are called ${model.id}: configure one of them only`)
    }
    byId.set(model.id, model)
  }
  const models = [...byId.values()]
  const fallback = options.default ?? (models.length === 1 ? models[0] : undefined)
  const known = models.length > 0 ? `there is ${models.map(({ id }) => id).join(', ')}` : 'there are none'
  return {
    models,
    find(which) {
      if (typeof which === 'object') return which
      const model = which === undefined ? fallback : byId.get(which)
      if (model) return model
      const missing = which === undefined ? 'this server has no default model' : `this server has no model ${which}`
      throw new MillraceError('not_found', `${missing}: ${known}`)
    },
  }
}
