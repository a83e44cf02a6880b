import type { ShownMessage } from 'millrace/conversation'
import { useConversation } from 'millrace/react'
import { memo, useState } from 'react'
import { usePage } from '../page-context.ts'
import { jsonText } from '../state/format.ts'
import { Icon } from './icon.tsx'
import { Link } from './link.tsx'
import { RequestForm } from './request-form.tsx'

/** A conversation as all of its clients see it, while it is written. */
export function ConversationPage({ actor, id }: { actor: string; id: string }) {
  const { session } = usePage()
  const talk = useConversation(session.client, id, { actor: actor })
  const [text, setText] = useState('')
  const isAnswering = talk.status === 'answering' || talk.status === 'stopping'
  const send = (): void => {
    if (text.trim() === '') return
    void talk.send(text.trim())
    setText('')
  }
  return (
    <section className="run conversation" aria-label="Conversation">
      <header className="run-head">
        <Link to={{ conversation: undefined }} className="back" aria-label="Back to the list" title="Back (Escape)">
          <Icon name="back" />
        </Link>
        <div className="run-title">
          <h2>{talk.title || id}</h2>
          <span className="state" data-state={isAnswering ? 'running' : talk.status}>
            {talk.status}
          </span>
        </div>
      </header>
      {talk.error && (
        <p role="alert" className="notice">
          {talk.error.message}
        </p>
      )}
      <div className="messages">
        {talk.messages.map((message) => (
          <MessageView key={message.id} message={message} />
        ))}
      </div>
      {talk.requests.map((request) => (
        <div key={request.id} className="need">
          <RequestForm
            request={{ ...request, request: request.id }}
            isAllowed
            owner={undefined}
            approve={talk.approve}
            answer={talk.answer}
          />
        </div>
      ))}
      <form className="steer" action={send}>
        <input
          value={text}
          aria-label="Message"
          placeholder="Write a message"
          onChange={({ target }) => setText(target.value)}
        />
        <button type="submit" disabled={text.trim() === ''}>
          Send
        </button>
        {isAnswering && (
          <button
            type="button"
            className="danger"
            disabled={talk.status === 'stopping'}
            onClick={() => void talk.stop()}
          >
            Stop
          </button>
        )}
      </form>
    </section>
  )
}

const MessageView = memo(function MessageView({ message }: { message: ShownMessage }) {
  const { role, status, parts, run, error } = message
  return (
    <article className="message" data-role={role} aria-label={role}>
      {parts.map((part, at) => {
        switch (part.type) {
          case 'text':
          case 'thinking':
            return (
              <p key={at} className="text" data-type={part.type}>
                {part.text}
              </p>
            )
          case 'call':
            return (
              <p key={at} className="line tool">
                <b>{part.name}</b> <code className="arguments">{jsonText(part.args, 400)}</code>
                {part.result !== undefined && <span className="faint">{jsonText(part.result, 400)}</span>}
              </p>
            )
          case 'url':
            return <code key={at}>{part.url}</code>
          case 'image':
          case 'file':
            return (
              <p key={at} className="faint">
                {part.name ?? part.type}, {part.mediaType}
              </p>
            )
        }
      })}
      {(run !== undefined || status !== 'sent') && role === 'assistant' && (
        <p className="faint message-foot">
          {status !== 'sent' && <span>{status}</span>}
          {error && <span className="wrong">{error.message}</span>}
          {run !== undefined && <Link to={{ view: 'runs', run, conversation: undefined }}>its run</Link>}
        </p>
      )}
    </article>
  )
})
