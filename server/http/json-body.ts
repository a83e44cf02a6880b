import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { packPayload } from '../log/payload.ts'
import { HttpError } from './problem.ts'

type BodyLimits = Pick<Limits, 'maxMessage' | 'maxDepth' | 'maxValues'>

const JSON_TYPE = 'application/json'

/** A body of JSON: its value, and what it takes in the encoding of the protocol. */
export type JsonBody = { readonly value: unknown; readonly bytes: number }

/**
 * Reads the body of a request as JSON. It never holds more than `maxMessage` bytes of it. A client that sends no body need
 * not say of what type it is.
 * @param ifEmpty What an empty body stands for. Default: it is an error.
 * @throws HttpError 413 for a larger body, 415 for another type, 400 for anything but JSON.
 */
export async function readJson(request: Request, { maxMessage }: BodyLimits, ifEmpty?: object): Promise<JsonBody> {
  const type = request.headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const length = request.headers.get('content-length')
  const mayBeEmpty = request.body === null || (length === null ? type === '' : Number(length) === 0)
  const unsupported = new HttpError(415, 'unsupported', `send the body as JSON, with Content-Type: ${JSON_TYPE}`)
  if (type !== JSON_TYPE && !mayBeEmpty) throw unsupported
  if (request.headers.has('content-encoding') && request.headers.get('content-encoding') !== 'identity')
    throw new HttpError(415, 'unsupported', 'this server takes no compressed bodies')
  const tooLarge = (): never => {
    throw new HttpError(413, 'bad_request', `the body is larger than ${maxMessage} bytes (maxMessage)`)
  }
  if (Number(length ?? 0) > maxMessage) tooLarge()
  const chunks: Uint8Array[] = []
  let bytes = 0
  const reader = (request.body as ReadableStream<Uint8Array> | null)?.getReader()
  for (let step = await reader?.read(); step && !step.done; step = await reader?.read()) {
    bytes += step.value.length
    if (bytes > maxMessage) tooLarge()
    chunks.push(step.value)
  }
  if (bytes === 0) {
    if (ifEmpty !== undefined) return { value: ifEmpty, bytes }
    throw new HttpError(400, 'bad_request', `the body is empty: send JSON, with Content-Type: ${JSON_TYPE}`)
  }
  if (type !== JSON_TYPE) throw unsupported
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))), bytes }
  } catch {
    throw new HttpError(400, 'bad_request', 'the body is not JSON in UTF-8')
  }
}

/**
 * Encodes data of a client as a frame would have it, which checks it as a frame is checked.
 * @throws MillraceError `bad_request` for data that no frame could carry: too deep, too many values, too large.
 */
export function packed(value: unknown, { maxMessage, maxDepth, maxValues }: BodyLimits): Uint8Array {
  try {
    return packPayload(value, { maxEvent: maxMessage, maxDepth, maxValues })
  } catch (error) {
    const { message } = MillraceError.from(error)
    throw new MillraceError('bad_request', message, { cause: undefined })
  }
}
