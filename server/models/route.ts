import type { Model, ModelEvent, ModelRequest } from './model.ts'
import { modelIn } from './model-check.ts'

/**
 * Makes a model that chooses a model for each request. The choice is a `warning` event with the code `model_routed`
 * before everything else, which names the chosen model.
 * @param choose Returns the model for a request, or a promise of it. What it throws ends the answer.
 * @param options Its `id`, by which actors name the result. Default `route`.
 */
export function route(
  choose: (request: ModelRequest) => Model | PromiseLike<Model>,
  options: { id?: string | undefined } = {},
): Model {
  return {
    id: options.id ?? 'route',
    provider: 'route',
    async *stream(request): AsyncGenerator<ModelEvent, void, undefined> {
      request.signal.throwIfAborted()
      const model = modelIn(await choose(request))
      request.signal.throwIfAborted()
      yield { type: 'warning', code: 'model_routed', message: `the model ${model.id} answers` }
      yield* model.stream(request)
    },
  }
}
