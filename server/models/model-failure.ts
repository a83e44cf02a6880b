import type { MillraceError } from '../../protocol/errors.ts'
import { Refusal } from './provider/refusal.ts'

/**
 * The failure of a model, for the operator of the server: `onError` receives it. Clients receive only its `cause`,
 * whose message has nothing of what the provider said.
 */
export class ModelFailure extends Error {
  /** Always `ModelFailure`. */
  override readonly name: string = 'ModelFailure'
  /** The id of the model, such as `openai:gpt-5-mini`. */
  readonly model: string
  /** The error that the run got. */
  override readonly cause: MillraceError
  /** The HTTP status of the provider's response. Undefined if there was no response, or its status was 200. */
  readonly status: number | undefined
  /** What the provider said, at most 2,000 characters, with keys replaced. Undefined if it said nothing. */
  readonly body: string | undefined

  /**
   * @param model the id of the model.
   * @param cause the error that the run got.
   */
  constructor(model: string, cause: MillraceError) {
    const refusal = refusalBehind(cause)
    super(
      `model ${model}: ${cause.message} (${[cause.code, refusal?.message, refusal?.body].filter(Boolean).join('; ')})`,
    )
    this.model = model
    this.cause = cause
    this.status = refusal?.status
    this.body = refusal?.body
  }
}

function refusalBehind(error: MillraceError): Refusal | undefined {
  return error.cause instanceof Refusal ? error.cause : undefined
}
