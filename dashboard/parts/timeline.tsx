import { useEffect, useMemo, useState } from 'react'
import { usePage } from '../page-context.ts'
import type { FleetRun } from '../state/fleet.ts'
import { duration, count as words } from '../state/format.ts'
import { Moment } from '../state/moment.ts'
import { MAX_EVENTS, type ReadLog, readLog } from '../state/run-log.ts'
import { createStore, type Store } from '../state/store.ts'
import { lanesOf } from '../state/timeline-lanes.ts'
import { useReplay } from '../use-replay.ts'
import { useStore } from '../use-store.ts'
import { Icon } from './icon.tsx'
import { Lanes } from './lanes.tsx'
import { PartList } from './part-list.tsx'

const SPEEDS = [0.25, 0.5, 1, 2, 4, 16, 64] as const
const EMPTY: Store<ReadLog> = createStore<ReadLog>({ events: [], count: 0, state: 'reading', why: undefined })

/** The log of a run over time, with a scrubber: the run as it was at any moment, replayed at any speed. */
export function Timeline({ run }: { run: FleetRun }) {
  const { session } = usePage()
  const { id, actor } = run
  const [log, setLog] = useState(EMPTY)
  useEffect(() => {
    const reading = readLog(session.client, { id, actor }, () => new Promise((drawn) => requestAnimationFrame(drawn)))
    setLog(reading)
    return reading.leave
  }, [session, id, actor])
  const { events, count, state, why } = useStore(log)
  const { lanes, totalMs } = useMemo(() => lanesOf(events, count), [events, count])
  const replay = useReplay(totalMs)
  const [moment, setMoment] = useState({ of: log, moment: new Moment() })
  if (moment.of !== log) setMoment({ of: log, moment: new Moment() })
  const parts = moment.moment.partsAt(events, count, replay.ms)
  const read = moment.moment.read
  if (count === 0)
    return (
      <p className="faint">
        {state === 'failed' ? `The log cannot be read: ${why ?? 'it is gone'}.` : 'Reading the log …'}
      </p>
    )
  const place = `${duration(replay.ms)} of ${duration(totalMs)}, item ${words(events[Math.max(0, read - 1)]!.seq)}`
  return (
    <div className="timeline">
      <div className="control-row">
        <button
          type="button"
          aria-label={replay.isPlaying ? 'Pause the replay' : 'Replay'}
          onClick={replay.isPlaying ? replay.pause : replay.play}
        >
          <Icon name={replay.isPlaying ? 'pause' : 'play'} />
        </button>
        <select
          aria-label="Speed"
          value={replay.speed}
          onChange={({ target }) => replay.setSpeed(Number(target.value))}
        >
          {SPEEDS.map((speed) => (
            <option key={speed} value={speed}>
              {speed}×
            </option>
          ))}
        </select>
        <output>{place}</output>
      </div>
      <div className="track">
        <Lanes lanes={lanes} totalMs={totalMs} ms={replay.ms} />
        <input
          type="range"
          className="scrubber"
          aria-label="Moment of the run"
          aria-valuetext={place}
          min={0}
          max={Math.max(1, totalMs)}
          step={Math.max(1, Math.round(totalMs / 500))}
          value={replay.ms}
          onChange={({ target }) => replay.seek(Number(target.value))}
        />
      </div>
      {state === 'cut' && <p className="faint">The first {words(MAX_EVENTS)} items of the run are shown.</p>}
      <PartList parts={parts} />
    </div>
  )
}
