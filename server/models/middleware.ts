import type { Model, ModelEvent, ModelRequest } from './model.ts'
import { modelIn } from './model-check.ts'

/**
 * Code around a model. It gets each request, and the function that asks the model. It may change the request, change,
 * add or leave out events, or answer by itself. What it returns must keep the contract of `Model.stream`.
 */
export type ModelMiddleware = (
  request: ModelRequest,
  next: (request: ModelRequest) => AsyncIterable<ModelEvent>,
) => AsyncIterable<ModelEvent>

/**
 * Puts middleware around a model. The result has the id and the provider of the model.
 * @param middleware The first one is the outermost.
 * @throws MillraceError `bad_request` for what is no model.
 */
export function withMiddleware(model: Model, ...middleware: readonly ModelMiddleware[]): Model {
  const { id, provider } = modelIn(model)
  const stream = middleware.reduceRight<Model['stream']>(
    (next, around) => (request) => around(request, next),
    (request) => model.stream(request),
  )
  return { id, provider, stream }
}
