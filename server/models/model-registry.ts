import { MillraceError } from '../../protocol/errors.ts'
import type { Model } from './model.ts'
import { modelIn } from './model-check.ts'

/** Makes the models of one provider, by their names there, such as `openai` of `millrace/models/openai`. */
export type ModelProvider = (name: string) => Model

/** The models of a server, by id. */
export interface ModelRegistry {
  /** All models, the default model first. */
  readonly models: readonly Model[]
  /** The names of the providers that make models on demand. */
  readonly providers: readonly string[]
  /**
   * Finds a model by its id, which may also be written `@(ID)`. A model object is returned unchanged. An id that no
   * model has, but whose first word is a provider (`openai:gpt-5-mini`), is a model of that provider.
   * @param which Default: the default model.
   * @throws MillraceError `not_found` for an unknown id and for a missing default model. A run may pass it on to its
   *   client, so it does not list the known ids. `bad_request` for an object that is no model, and for a model that its
   *   provider cannot make, such as one without a key.
   */
  find(which?: string | Model): Model
}

export type ModelRegistryOptions = {
  /** The model of agents that name none. Default: the model of `models`, if it has exactly one. */
  default?: Model
  /** Further models. Default: none. */
  models?: readonly Model[]
  /** Providers that make models on demand, by name. Default: none. */
  providers?: { readonly [name: string]: ModelProvider }
}

/**
 * Makes a registry of models.
 * @throws MillraceError `bad_request` when two different models have the same id, and for what is no model or no
 *   provider.
 */
export function modelRegistry(options: ModelRegistryOptions = {}): ModelRegistry {
  const byId = new Map<string, Model>()
  for (const model of [...(options.default ? [options.default] : []), ...(options.models ?? [])]) {
    modelIn(model)
    if ((byId.get(model.id) ?? model) !== model) {
      throw new MillraceError('bad_request', `two models have the id ${model.id}: configure only one of them`)
    }
    byId.set(model.id, model)
  }
  const models = [...byId.values()]
  const providers = new Map(Object.entries(options.providers ?? {}))
  for (const [name, make] of providers) {
    if (typeof make !== 'function' || name === '' || name.includes(':'))
      throw new MillraceError('bad_request', `the provider ${name} must be a function, and its name without a colon`)
  }
  const made = (id: string): Model | undefined => {
    const colon = id.indexOf(':')
    const make = providers.get(id.slice(0, Math.max(colon, 0)))
    // Not kept: the name may come from a client.
    return make && modelIn(make(id.slice(colon + 1)))
  }
  const fallback = options.default ?? (models.length === 1 ? models[0] : undefined)
  return {
    models,
    providers: [...providers.keys()],
    find(which) {
      if (typeof which === 'object') return modelIn(which)
      const id = which === undefined ? undefined : (/^@\((.*)\)$/s.exec(which)?.[1] ?? which)
      const model = id === undefined ? fallback : (byId.get(id) ?? made(id))
      if (model) return model
      const missing =
        which === undefined
          ? 'no model: give the agent one (model: openai(...)), or the server a defaultModel'
          : `unknown model ${which}`
      throw new MillraceError('not_found', missing)
    },
  }
}
