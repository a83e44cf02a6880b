import { MillraceError } from '../../protocol/errors.ts'
import type { Model } from './model.ts'

/** Returns a model. @throws MillraceError `bad_request` for what is none: without types, it may be anything. */
export function modelIn(given: unknown): Model {
  const { id, stream } = (given ?? {}) as Partial<Model>
  if (typeof id !== 'string' || typeof stream !== 'function') {
    throw new MillraceError(
      'bad_request',
      'a model must have an `id` and `stream`: make one with demo(), openai(name), ollama(name) or code of your own',
    )
  }
  return given as Model
}
