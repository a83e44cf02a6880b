import type { ServerSentEvent } from '../../streams/sse.ts'
import type { ModelEvent } from '../model.ts'
import { answerBody } from './answer-body.ts'

/** Makes the events of a model from those of one answer. */
export type AnswerReader = {
  /** Nothing of the answer follows. */
  readonly isDone: boolean
  /** The longest line of an answer, in bytes. Default 1 MiB. */
  readonly maxLineBytes?: number
  /** Takes one event of the provider. @throws anything that ends the answer. */
  take(event: ServerSentEvent): Iterable<ModelEvent>
  /** Yields what follows the last event, `finish` last. @throws for an answer that is not whole. */
  end(): Iterable<ModelEvent>
  /** Yields the usage, if the provider has stated it and it was not yielded. */
  usage(): Iterable<ModelEvent>
}

/** Reads the response of a provider to its end. Usage counts also if the answer is not whole. */
export async function* readAnswer(
  { body }: Response,
  reader: AnswerReader,
): AsyncGenerator<ModelEvent, void, undefined> {
  try {
    for await (const event of answerBody(body!, reader.maxLineBytes)) {
      yield* reader.take(event)
      if (reader.isDone) break
    }
    yield* reader.end()
  } catch (error) {
    yield* reader.usage()
    throw error
  }
}
