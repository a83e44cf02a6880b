import { useFleet, usePage } from '../page-context.ts'
import type { Stuck, StuckReason } from '../state/attention.ts'
import type { FleetRun } from '../state/fleet.ts'
import { duration, shortId } from '../state/format.ts'
import type { OpenRequest } from '../state/server-api.ts'
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
        <Question
          key={`${run.id} ${request.request}`}
          run={run}
          request={request}
          isAllowed={details.may.approve}
          at={at}
        />
      ))}
      {stuck.map((one) => (
        <StuckRun key={one.run.id} stuck={one} at={at} />
      ))}
    </section>
  )
}

type QuestionProps = { run: FleetRun; request: OpenRequest; isAllowed: boolean; at: number }

function Question({ run, request, isAllowed, at }: QuestionProps) {
  const { session } = usePage()
  const say = async (type: 'approve' | 'answer', data: object): Promise<void> => {
    await session.act(run, (reading) => reading.send(type, data))
    session.asked.answered(run.id, request.request)
  }
  return (
    <article className="need" aria-label={`${run.actor} asks`}>
      <NeedHead run={run} ms={at - run.startedAt} />
      <RequestForm
        request={request}
        isAllowed={isAllowed}
        owner={run.principal}
        approve={(call, decision) => say('approve', { call, ...decision })}
        answer={(name, value) => say('answer', { request: name, value })}
      />
    </article>
  )
}

function StuckRun({ stuck: { run, why, since }, at }: { stuck: Stuck; at: number }) {
  const { session } = usePage()
  return (
    <article className="need" aria-label={`${run.actor} is stuck`}>
      <NeedHead run={run} ms={at - since} />
      <div className="need-body">
        <p>It {WHY[why]}.</p>
        {why === 'unread' && (
          <CancelButton label="Cancel it" stop={() => session.act(run, (reading) => reading.cancel())} />
        )}
      </div>
    </article>
  )
}

function NeedHead({ run, ms }: { run: FleetRun; ms: number }) {
  return (
    <p className="need-head">
      <Link to={{ run: run.id, beside: undefined, tab: 'output' }}>
        <b>{run.actor}</b> <span className="row-id">{shortId(run.id)}</span>
      </Link>
      <span className="faint">{duration(ms)}</span>
    </p>
  )
}
