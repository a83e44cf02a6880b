import type { Usage } from 'millrace/client'
import { usePage } from '../page-context.ts'
import type { FleetRun } from '../state/fleet.ts'
import { count, rate, short } from '../state/format.ts'
import { Plot } from './plot.tsx'

/** How a run is doing: the rate of its producer over time, and what stands between it and its readers. */
export function RunFigures({
  run,
  usage,
  limit,
}: {
  run: FleetRun
  usage: Usage | undefined
  limit: number | undefined
}) {
  const { session } = usePage()
  const { live, items, id } = run
  // Of a run that another server has, they are not known.
  const isHere = live !== undefined && live.node === undefined
  const least = live?.readers.filter(({ policy }) => policy === 'pace').map(({ credit }) => credit)
  const lag = live?.readers.map((reader) => reader.lag)
  return (
    <div className="figures">
      <dl className="facts">
        <Fact name="Items" value={count(items)} />
        {isHere && <Fact name="Bytes/s" value={short(Math.round(live.bytesPerSec))} />}
        {isHere && (
          <Fact
            name="Credit"
            value={least && least.length > 0 ? count(Math.min(...least)) : '–'}
            note="What may still be sent to the reader that holds it back"
          />
        )}
        {isHere && (
          <Fact
            name="Lag"
            value={lag && lag.length > 0 ? count(Math.max(...lag)) : '–'}
            note="Items not yet sent to the slowest reader"
          />
        )}
        {isHere && (
          <Fact
            name="Readers"
            value={count(live.readerCount)}
            note="This page is one for the run that is open, and another one for its row in the list"
          />
        )}
        {usage && (
          <Fact
            name="Tokens"
            value={`${count(usage.input)} + ${count(usage.output)}`}
            note="Of the input and of the output"
          />
        )}
      </dl>
      {live && (
        <Plot
          title="Producer"
          value={rate(live.itemsPerSec)}
          unit="items/s"
          series={session.feed.rateOf(id)}
          now={session.feed.now}
          seconds={60}
          look="line"
          limit={limit}
        />
      )}
    </div>
  )
}

function Fact({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div title={note}>
      <dt>
        {name}
        {note !== undefined && <span className="unseen">: {note}</span>}
      </dt>
      <dd>{value}</dd>
    </div>
  )
}
