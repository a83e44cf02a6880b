import { type CancelResult, createClient } from 'millrace/client'
import { useConnection, useConversation } from 'millrace/react'
import { useEffect, useRef, useState } from 'react'
import type { Actors } from './actors.ts'
import { Message } from './message.tsx'

const client = createClient<Actors>(new URL('/agents', location.href.replace(/^http/, 'ws')), {
  token: 'a-long-secret',
})

/** The server keeps the conversation: a page that is loaded again, and every other tab, show the same. */
export function Chat() {
  // A hidden page reads on, so that it can tell when the answer is complete.
  const chat = useConversation(client, 'main', { whenHidden: 'read' })
  const { status, error } = useConnection(client)
  const [receipt, setReceipt] = useState<CancelResult>()
  const isAnswering = chat.status === 'answering'
  const answer = chat.messages.at(-1)
  useCompleteNotice(isAnswering, answer?.status === 'sent' ? answer.text : undefined)

  const send = (form: FormData): void => {
    const question = form.get('question')
    if (typeof question !== 'string' || question.trim() === '') return
    if (Notification.permission === 'default') void Notification.requestPermission()
    setReceipt(undefined)
    // While an answer is written, a message steers it: it comes in place of the rest.
    void chat.send(question, isAnswering ? { mode: 'now' } : {})
  }

  return (
    <main>
      {chat.messages.map((message) => (
        <Message key={message.id} message={message} chat={chat} />
      ))}
      {chat.requests.map(
        ({ id, call, prompt }) =>
          call !== undefined && (
            <p key={id}>
              {prompt} <button onClick={() => void chat.approve(call, true)}>Allow</button>{' '}
              <button onClick={() => void chat.approve(call, { ok: false, note: 'not now' })}>Refuse</button>
            </p>
          ),
      )}
      <form action={send}>
        <input name="question" placeholder="Weather in Oslo and Rome? Send a mail to Ada!" aria-label="Message" />
        <button type="submit">{isAnswering ? 'Steer' : 'Send'}</button>
        {isAnswering && (
          <button type="button" onClick={() => void chat.stop().then(setReceipt)}>
            Stop
          </button>
        )}
      </form>
      {receipt && 'provider' in receipt && (
        <small>
          Stopped. Provider: {receipt.provider}. Kept up to item {receipt.kept}.
        </small>
      )}
      {chat.error && <p role="alert">{chat.error.message}</p>}
      {(status === 'lost' || status === 'closed') && <p role="alert">Not connected: {error?.message}</p>}
    </main>
  )
}

/** Tells the user that an answer is complete, if its page is hidden then. */
function useCompleteNotice(isAnswering: boolean, text: string | undefined): void {
  const was = useRef(isAnswering)
  useEffect(() => {
    if (was.current && !isAnswering && text !== undefined && document.hidden)
      new Notification('The answer is complete', { body: text })
    was.current = isAnswering
  }, [isAnswering, text])
}
