import { MillraceError } from '../../../protocol/errors.ts'

/** How long a model waits for its provider, in milliseconds each. `Infinity` means no limit. */
export type ProviderTimeouts = {
  /**
   * From the request to the headers of the response. Ollama sends them only once the model is loaded. Default 600,000.
   */
  headersMs?: number | undefined
  /** From the headers to the first event of the answer. Some providers send nothing while a model thinks. Default 600,000. */
  firstTokenMs?: number | undefined
  /**
   * From one piece of the answer to the next, while somebody waits for it. A reader that reads slowly costs nothing of
   * this. Default 300,000.
   */
  betweenTokensMs?: number | undefined
}

export type TimeoutName = keyof ProviderTimeouts

/** All limits, in milliseconds. */
export type Timeouts = { readonly [Name in TimeoutName]: number }

const DEFAULTS: Timeouts = { headersMs: 600_000, firstTokenMs: 600_000, betweenTokensMs: 300_000 }

/** What the provider did not do in time. */
const FAULTS: { readonly [Name in TimeoutName]: string } = {
  headersMs: 'did not begin to answer',
  firstTokenMs: 'sent nothing of the answer',
  betweenTokensMs: 'sent no more of the answer',
}

/** The provider did not go on in time, and its socket was closed. */
export class ProviderTimeout extends Error {
  override readonly name: string = 'ProviderTimeout'

  constructor(limit: TimeoutName, ms: number) {
    super(`the provider ${FAULTS[limit]} within ${ms / 1_000} s (timeouts.${limit})`)
  }
}

/**
 * The given limits, and the defaults for the others.
 * @throws MillraceError `bad_request` for a limit that is not a number above 0.
 */
export function timeoutsOf(given: ProviderTimeouts = {}): Timeouts {
  const timeouts: { -readonly [Name in TimeoutName]: number } = { ...DEFAULTS }
  for (const [name, ms] of Object.entries(given)) {
    if (ms === undefined) continue
    if (!(typeof ms === 'number' && ms > 0))
      throw new MillraceError('bad_request', `timeouts.${name} must be a number of milliseconds above 0`)
    timeouts[name as TimeoutName] = ms
  }
  return timeouts
}
