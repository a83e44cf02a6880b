import { usePlace } from '../page-context.ts'
import { count } from '../state/format.ts'
import { useConversationList } from '../use-conversation-list.ts'
import { Link } from './link.tsx'

/** The conversations of an actor, the one with the latest message first, or what a search has found. */
export function ConversationList({ actor, search }: { actor: string; search: string }) {
  const { conversation } = usePlace()
  const { conversations, found, isLoaded, error, more } = useConversationList(actor, search)
  if (error !== undefined)
    return (
      <p className="empty" role="alert">
        {error}
      </p>
    )
  if (!isLoaded) return <p className="empty faint">Reading the conversations …</p>
  const entries = found
    ? found.map(({ conversation: id, message, title, excerpt, at }) => ({
        key: message,
        id,
        title,
        words: excerpt,
        at,
      }))
    : conversations.map(({ id, title, messages, updatedAt }) => ({
        key: id,
        id,
        title,
        words: `${count(messages)} ${messages === 1 ? 'message' : 'messages'}`,
        at: updatedAt,
      }))
  if (entries.length === 0)
    return <p className="empty faint">{found ? 'No message has all of these words.' : 'No conversation yet.'}</p>
  return (
    <ul className="entries">
      {entries.map(({ key, id, title, words, at }) => (
        <li key={key}>
          <Link
            to={{ conversation: id, keeper: actor }}
            className="row"
            aria-current={id === conversation ? 'true' : undefined}
          >
            <b className="row-actor">{title || id}</b>
            <span className="row-age">
              {new Date(at).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' })}
            </span>
            <span className="row-found">{words}</span>
          </Link>
        </li>
      ))}
      {more && (
        <li>
          <button type="button" onClick={more}>
            More
          </button>
        </li>
      )}
    </ul>
  )
}
