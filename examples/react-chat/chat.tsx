import { createClient } from 'millrace/client'
import { useConnection, useRun, useRuns } from 'millrace/react'
import { useEffect } from 'react'
import type { Actors } from './actors.ts'
import { Answer } from './answer.tsx'

const client = createClient<Actors>(new URL('/agents', location.href.replace(/^http/, 'ws')), {
  token: 'a-long-secret',
})

/** Each question is a run. All of them are found by the name of the chat: after a reload, and in every other tab. */
const chat = { chat: 'main' }

export function Chat() {
  // A hidden page reads on, so that it can tell when the answer is complete.
  const run = useRun(client, 'assistant', { follow: chat, whenHidden: 'read' })
  const { runs } = useRuns(client)
  const { status, error } = useConnection(client)

  useEffect(() => {
    if (document.hidden && run.status === 'done') new Notification('The answer is complete', { body: run.text })
  }, [run.status, run.text])

  const send = (form: FormData): void => {
    const question = form.get('question')
    if (typeof question !== 'string' || question.trim() === '') return
    if (Notification.permission === 'default') void Notification.requestPermission()
    // While an answer is written, a message steers it.
    if (run.isLive) void run.send('message.now', question)
    else run.start(question, { meta: { question: question.slice(0, 200) } })
  }

  return (
    <main>
      {runs
        .filter(({ id, meta }) => meta?.chat === chat.chat && id !== run.id)
        .map(({ id }) => (
          <Past key={id} id={id} />
        ))}
      {run.status !== 'idle' && run.status !== 'finding' && <Answer run={run} />}
      <form action={send}>
        <input name="question" placeholder="Weather in Oslo and Rome? Send a mail to Ada!" aria-label="Message" />
        <button type="submit">{run.isLive ? 'Steer' : 'Send'}</button>
        {run.isLive && (
          <>
            <button type="button" onClick={run.isPaused ? run.resume : run.pause}>
              {run.isPaused ? 'Resume' : 'Pause'}
            </button>
            <button type="button" onClick={() => void run.stop()}>
              Stop
            </button>
          </>
        )}
      </form>
      {(status === 'lost' || status === 'closed') && <p role="alert">Not connected: {error?.message}</p>}
    </main>
  )
}

function Past({ id }: { id: string }) {
  return <Answer run={useRun(client, 'assistant', { id, whenHidden: 'read' })} />
}
