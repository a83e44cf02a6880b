import { useFleet, usePage } from '../page-context.ts'
import { isLive } from '../state/fleet.ts'
import { count, duration, rate } from '../state/format.ts'
import { Plot } from './plot.tsx'
import { SessionTable } from './session-table.tsx'

/** The server as a whole: how many runs, how fast, how quick. */
export function Overview() {
  const { session } = usePage()
  const { all, itemsPerSec, sessions } = useFleet()
  const { latencies, feed } = session
  const live = all.filter(isLive)
  const held = live.filter((run) => run.live?.gated).length
  const waiting = live.filter((run) => run.state === 'waiting_input').length
  const now = Date.now()
  const ms = (value: number | undefined): [value: string, unit: string] => {
    if (value === undefined) return ['–', '']
    const [number = '', unit = ''] = duration(value).split(' ')
    return [number, `${unit} median`]
  }
  const [first, firstUnit] = ms(latencies.firstText.median(now))
  const [cancel, cancelUnit] = ms(latencies.cancel.median(now))
  return (
    <section className="overview" aria-label="Overview">
      <dl className="tiles">
        <Tile name="Live runs" value={count(live.length)} />
        <Tile name="Held back" value={count(held)} note="Runs that wait for a reader to read on" />
        <Tile name="Waiting for people" value={count(waiting)} />
        <Tile name="Sessions" value={count(sessions.length)} />
      </dl>
      <Plot
        title="All runs"
        value={rate(itemsPerSec)}
        unit="items/s"
        series={feed.total}
        now={feed.now}
        seconds={120}
        look="line"
      />
      <div className="pair">
        <Plot
          title="First text"
          value={first}
          unit={firstUnit}
          series={latencies.firstText}
          now={Date.now}
          seconds={600}
          look="points"
        />
        <Plot
          title="Cancel to end"
          value={cancel}
          unit={cancelUnit}
          series={latencies.cancel}
          now={Date.now}
          seconds={600}
          look="points"
        />
      </div>
      <p className="faint">
        The times are those of the runs that this page has seen begin and stop. <code>GET /metrics</code> has those of
        all.
      </p>
      <SessionTable sessions={sessions} />
    </section>
  )
}

function Tile({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div className="tile" title={note}>
      <dt>
        {name}
        {note !== undefined && <span className="unseen">: {note}</span>}
      </dt>
      <dd>{value}</dd>
    </div>
  )
}
