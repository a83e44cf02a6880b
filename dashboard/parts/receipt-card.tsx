import type { Receipt } from 'millrace/client'
import { count, duration, things } from '../state/format.ts'

const PROVIDER: { readonly [state in Receipt['provider']]: string } = {
  closed: 'its socket was closed',
  open: 'its socket did not close in time',
  none: 'no request was open',
}

/** What a cancel has stopped, as the server has reported it. */
export function ReceiptCard({ receipt, outcome }: { receipt: Receipt; outcome: string }) {
  const { settled, ms, provider, tools, kept, usage, unsettled, continuing = [], by, reason, note } = receipt
  const facts: [name: string, value: string][] = [
    ['Provider', PROVIDER[provider]],
    ['Tool calls stopped', count(tools.length)],
    ['Kept', things(kept, 'item')],
    ['By', `${by}, ${reason}${note === undefined ? '' : `: ${note}`}`],
  ]
  if (usage) {
    const about = usage.exact ? '' : ', estimated'
    const cost = usage.cost === undefined ? '' : `, cost ${usage.cost.toFixed(4)}`
    facts.push(['Tokens', `${count(usage.input)} in, ${count(usage.output)} out${about}${cost}`])
  }
  if (continuing.length > 0) facts.push(['Goes on', things(continuing.length, 'child', 'children')])
  return (
    <section className="receipt" data-settled={settled} aria-label="Receipt" role="status">
      <h3>
        {outcome === 'cancelled' ? 'Cancelled' : `Ended: ${outcome}`} in {duration(ms)}
        <span>{settled ? 'all work has ended' : `still going on: ${unsettled.join(', ')}`}</span>
      </h3>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
