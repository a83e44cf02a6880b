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
 * Puts middleware around a model. The result has the id, the provider, `structured` and the prices of the model.
 * @param middleware The first one is the outermost.
 * @throws MillraceError `bad_request` for what is no model.
 */
export function withMiddleware(model: Model, ...middleware: readonly ModelMiddleware[]): Model {
  modelIn(model)
  return withStream(
    model,
    middleware.reduceRight<Model['stream']>(
      (next, around) => (request) => around(request, next),
      (request) => model.stream(request),
    ),
  )
}

/** The same model, which answers otherwise. @throws MillraceError `bad_request` for what is no model. */
export function withStream(model: Model, stream: Model['stream']): Model {
  const { id, provider, structured, prices } = modelIn(model)
  return { id, provider, structured, prices, stream }
}
