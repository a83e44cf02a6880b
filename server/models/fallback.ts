import { MillraceError } from '../../protocol/errors.ts'
import { AnswerCheck } from './answer-check.ts'
import type { Model, ModelEvent, ModelRequest, Structured } from './model.ts'
import { modelIn } from './model-check.ts'

/**
 * Makes a model that asks the first of several models, and the next one when that fails before its first text,
 * thinking, arguments or call. Each change is a `warning` event with the code `model_fallback`, which names both models
 * and the code of the error. An answer that has begun is never given up for another one.
 *
 * A refusal of the content (`content_filtered`) is an answer, so no other model is asked. The error of the last model
 * ends the run. An `output` is asked for as the model does that supports it least. Each model makes its own retries first: give models `maxRetries: 0` that should be left at once.
 * @param models At least two, the preferred one first. The id of the result is `fallback:` and the ids of all,
 *   joined with `|`.
 * @throws MillraceError `bad_request` for fewer than two models, and for what is no model.
 */
export function fallback(...models: readonly [Model, Model, ...Model[]]): Model {
  for (const model of models as readonly unknown[]) modelIn(model)
  if (models.length < 2) throw new MillraceError('bad_request', 'fallback() needs at least two models')
  return {
    id: `fallback:${models.map(({ id }) => id).join('|')}`,
    provider: 'fallback',
    structured: weakestOf(models),
    stream: (request) => firstAnswer(models, request),
  }
}

/** Whether all of them take the form of an output: what one of them must be told in words, all are told. */
function weakestOf(models: readonly Model[]): Structured {
  const all = models.map(({ structured = 'none' }) => structured)
  return all.includes('none') ? 'none' : all.includes('best-effort') ? 'best-effort' : 'enforced'
}

async function* firstAnswer(
  models: readonly Model[],
  request: ModelRequest,
): AsyncGenerator<ModelEvent, void, undefined> {
  for (const [at, model] of models.entries()) {
    const next = models[at + 1]
    const answer = new AnswerCheck()
    try {
      for await (const event of model.stream(request)) if (answer.accepts(event)) yield event
      answer.end()
      return
    } catch (error) {
      if (next === undefined || request.signal.aborted || answer.hasSaid || !MillraceError.is(error)) throw error
      if (error.code === 'content_filtered') throw error
      const message = `the model ${model.id} failed (${error.code}): the model ${next.id} answers`
      yield { type: 'warning', code: 'model_fallback', message }
    }
  }
}
