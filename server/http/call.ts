import type { z } from 'zod'
import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { invalidInput } from '../runs/invalid-input.ts'
import type { UpgradeRequest } from '../transports/transport.ts'
import type { Caller } from './caller.ts'
import { type JsonBody, readJson } from './json-body.ts'

/** The content of the `:name` segments of a path. */
export type Params = { readonly [name: string]: string }

/** One request to a route, and the client behind it. */
export class Call {
  readonly request: Request
  readonly params: Params
  readonly url: URL
  /** The request as `authenticate` and the check of origins see it. */
  readonly facts: UpgradeRequest
  readonly #caller: Caller | undefined
  readonly #limits: Limits

  /** @param caller undefined for a route that anybody may call. */
  constructor(
    request: Request,
    url: URL,
    params: Params,
    facts: UpgradeRequest,
    caller: Caller | undefined,
    limits: Limits,
  ) {
    this.request = request
    this.url = url
    this.params = params
    this.facts = facts
    this.#caller = caller
    this.#limits = limits
  }

  /** The client behind the request. */
  get caller(): Caller {
    if (!this.#caller) throw new MillraceError('unauthenticated', 'this needs credentials')
    return this.#caller
  }

  /** A segment of the path that its route has. */
  param(name: string): string {
    return this.params[name] ?? ''
  }

  header(name: string): string | undefined {
    return this.facts.headers.get(name)
  }

  /** Whether the client names a media type, or a wildcard for it, and which of two it names first. */
  prefers(type: string, other: string): boolean {
    const accepted = (this.header('accept') ?? '*/*')
      .split(',')
      .map((one) => one.split(';', 1)[0]?.trim().toLowerCase())
    const at = accepted.indexOf(type)
    const otherAt = accepted.indexOf(other)
    return at >= 0 && (otherAt < 0 || at < otherAt)
  }

  /**
   * The parameters of the query.
   * @throws MillraceError `bad_request` for one that is unknown, invalid or there twice.
   */
  query<Schema extends z.ZodType>(schema: Schema): z.output<Schema> {
    const values: { [name: string]: string } = Object.create(null) as { [name: string]: string }
    for (const [name, value] of this.url.searchParams) {
      if (name === 'ticket') continue
      if (name in values) throw new MillraceError('bad_request', `the query has ${name} twice`)
      values[name] = value
    }
    return checked(schema, { ...values }, 'the query')
  }

  /** The body of the request as JSON of any form. @throws HttpError as `readJson` does. */
  json(): Promise<JsonBody> {
    return readJson(this.request, this.#limits)
  }

  /**
   * The body of the request. An empty one is `{}` where the schema takes that.
   * @throws HttpError as `readJson` does. MillraceError `bad_request` for JSON of another form.
   */
  async body<Schema extends z.ZodType>(schema: Schema): Promise<{ value: z.output<Schema>; bytes: number }> {
    const { value, bytes } = await readJson(this.request, this.#limits, takesNothing(schema) ? {} : undefined)
    return { value: checked(schema, value, 'the body'), bytes }
  }
}

/** Whether a body of this schema may be left out: all of its members are optional. */
export function takesNothing(schema: z.ZodType): boolean {
  return schema.safeParse({}).success
}

/** @throws MillraceError `bad_request`, with the issues as `details`. */
function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const { success, data, error } = schema.safeParse(value)
  if (success) return data
  const { message, details } = invalidInput(error.issues)
  throw new MillraceError('bad_request', message.replace('the input', what), { details })
}
