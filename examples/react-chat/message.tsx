import type { ShownMessage } from 'millrace/conversation'
import type { ShownConversation } from 'millrace/react'
import { memo, useState } from 'react'

type MessageProps = { message: ShownMessage; chat: ShownConversation }

/** Messages and parts that did not change are the same objects, and are not rendered again. */
export const Message = memo(
  function Message({ message, chat }: MessageProps) {
    return (
      <article className={message.role}>
        {message.role === 'user' ? <Question message={message} chat={chat} /> : <Answer message={message} />}
        {message.role === 'assistant' && ['cancelled', 'failed'].includes(message.status) && (
          <small>
            {message.status} {message.error?.message} <button onClick={() => void chat.retry(message.id)}>Retry</button>
          </small>
        )}
        <Versions message={message} chat={chat} />
      </article>
    )
  },
  (before, after) => before.message === after.message && before.chat.status === after.chat.status,
)

/** What the user wrote. An edit begins another branch, and keeps the old one. */
function Question({ message, chat }: MessageProps) {
  const [isEdited, setEdited] = useState(false)
  if (!isEdited)
    return (
      <p className="question">
        {message.text}{' '}
        {chat.status === 'ready' && (
          <button aria-label="Edit" onClick={() => setEdited(true)}>
            Edit
          </button>
        )}
      </p>
    )
  const save = (form: FormData): void => {
    const text = form.get('edited')
    if (typeof text === 'string' && text.trim() !== '') void chat.edit(message.id, text)
    setEdited(false)
  }
  return (
    <form action={save}>
      <input name="edited" defaultValue={message.text} aria-label="Edited message" />
      <button type="submit">Save</button>
    </form>
  )
}

function Answer({ message }: { message: ShownMessage }) {
  return message.parts.map((part, at) => {
    switch (part.type) {
      case 'text':
        return (
          <p key={at} className="answer">
            {part.text}
          </p>
        )
      case 'thinking':
        return (
          <p key={at} className="thinking">
            {part.text}
          </p>
        )
      case 'call':
        return (
          <p key={at} className="tool">
            {part.name} {typeof part.args === 'string' ? part.args : JSON.stringify(part.args)}
            <br />
            <small>{part.result ?? 'running'}</small>
          </p>
        )
      default:
        return null
    }
  })
}

/** The versions of a message, of which one is shown, with the branch behind it. */
function Versions({ message: { id, versions }, chat }: MessageProps) {
  const at = versions.indexOf(id)
  if (versions.length < 2) return null
  const go = (to: string | undefined): void => {
    if (to !== undefined) void chat.select(to)
  }
  return (
    <small className="versions">
      <button aria-label="Previous version" disabled={at === 0} onClick={() => go(versions[at - 1])}>
        ‹
      </button>{' '}
      {at + 1} of {versions.length}{' '}
      <button aria-label="Next version" disabled={at === versions.length - 1} onClick={() => go(versions[at + 1])}>
        ›
      </button>
    </small>
  )
}
