import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import { withStream } from './middleware.ts'
import type { Model, Prices } from './model.ts'

const PRICES: OptionKinds<Prices> = { input: 'a number', output: 'a number', cached: 'a number' }
const UNIT_TOKENS = 1_000_000

/**
 * Gives a model its prices: the usage of runs then has `cost`, and a budget may limit it. The result has the id and the
 * provider of the model.
 * @param prices per million tokens, in one currency for the whole server. `cached` is for input that the provider had
 *   cached; default: as `input`. Thinking is output.
 * @throws MillraceError `bad_request` for what is no model, and for a price that is missing or is not a number from 0 on.
 */
export function priced(model: Model, prices: Prices): Model {
  checkOptions('priced', prices, PRICES)
  const { input, output, cached = input } = prices
  for (const [name, price] of Object.entries({ input, output, cached }))
    if (!(price >= 0 && price < Number.POSITIVE_INFINITY))
      throw new MillraceError(
        'bad_request',
        `priced needs the price of ${name}: a number of at least 0 per million tokens`,
      )
  const own = { input, output, cached }
  return {
    ...withStream(model, async function* (request) {
      for await (const event of model.stream(request))
        yield event.type === 'usage' && event.cost === undefined ? { ...event, cost: costOf(event, own) } : event
    }),
    prices: own,
  }
}

/** What a usage costs. */
export function costOf({ input, output, cached = 0 }: Usage, prices: Prices): number {
  const { cached: ofCached = prices.input } = prices
  const fresh = Math.max(0, input - cached)
  return (fresh * prices.input + cached * ofCached + output * prices.output) / UNIT_TOKENS
}
