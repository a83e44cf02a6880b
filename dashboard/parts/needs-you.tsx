import { useFleet, usePage } from '../page-context.ts'
import type { Stuck, StuckReason } from '../state/attention.ts'
import { duration, shortId } from '../state/format.ts'
import { useStore } from '../use-store.ts'
import { CancelButton } from './cancel-button.tsx'
import { Link } from './link.tsx'
import { RequestForm } from './request-form.tsx'

const WHY: { readonly [why in StuckReason]: string } = {
  unstoppable: 'was told to stop, and has not',
  unread: 'waits for a reader that does not read',
}

/** What waits for a person: questions of runs, and runs that are stuck. */
export function NeedsYou() {
  const { session } = usePage()
  const asked = useStore(session.asked.asked)
  const { stuck, at } = useFleet()
  const questions = asked.flatMap(({ run, details }) => details.pending.map((request) => ({ run, details, request })))
  const total = questions.length + stuck.length
  return (
    <section className="needs" aria-label="Needs you" data-empty={total === 0}>
      <h2 role="status">
        {total === 0 ? (
          'Nothing needs you'
        ) : (
          <>
            Needs you <span className="number">{total}</span>
          </>
        )}
      </h2>
      {questions.map(({ run, details, request }) => (
        <article key={`${run.id} ${request.request}`} className="need" aria-label={`${run.actor} asks`}>
          <p className="need-head">
            <Link to={{ run: run.id, beside: undefined, tab: 'output' }}>
              <b>{run.actor}</b> <span className="row-id">{shortId(run.id)}</span>
            </Link>
            <span className="faint">{duration(at - run.startedAt)}</span>
          </p>
          <RequestForm
            request={request}
            isAllowed={details.may.approve}
            owner={run.principal}
            send={async (type, data) => {
              await session.act(run, (reading) => reading.send(type, data))
              session.asked.answered(run.id, request.request)
            }}
          />
        </article>
      ))}
      {stuck.map((one) => (
        <StuckRun key={one.run.id} stuck={one} at={at} />
      ))}
    </section>
  )
}

function StuckRun({ stuck: { run, why, since }, at }: { stuck: Stuck; at: number }) {
  const { session } = usePage()
  return (
    <article className="need" aria-label={`${run.actor} is stuck`}>
      <p className="need-head">
        <Link to={{ run: run.id, beside: undefined, tab: 'output' }}>
          <b>{run.actor}</b> <span className="row-id">{shortId(run.id)}</span>
        </Link>
        <span className="faint">{duration(at - since)}</span>
      </p>
      <div className="need-body">
        <p>It {WHY[why]}.</p>
        {why === 'unread' && (
          <CancelButton label="Cancel it" stop={() => session.act(run, (reading) => reading.cancel())} />
        )}
      </div>
    </article>
  )
}
