import { useState } from 'react'
import { usePage, usePlace } from '../page-context.ts'
import { useStore } from '../use-store.ts'
import { ConversationList } from './conversation-list.tsx'
import { ConversationPage } from './conversation-page.tsx'

/** The conversations of one's own, with a search, beside the one that is open. */
export function Conversations() {
  const { session, router } = usePage()
  const { conversation, keeper } = usePlace()
  const actors = useStore(session.actors)
  const keepers = actors.filter((actor) => actor.conversations).map(({ name }) => name)
  const actor = keepers.find((name) => name === keeper) ?? keepers[0]
  const [search, setSearch] = useState('')
  if (actor === undefined)
    return (
      <main className="empty">
        <h2>No conversations</h2>
        <p>
          {actors.length === 0
            ? 'Reading the actors of the server …'
            : 'No actor of this server keeps conversations. One that is made with conversation() does.'}
        </p>
      </main>
    )
  return (
    <main className="split" data-open={conversation !== undefined}>
      <section className="side" aria-label="Conversations">
        <search className="filter">
          <input
            id="filter"
            type="search"
            className="grow"
            placeholder="Search messages"
            aria-label="Search the messages of all conversations"
            aria-keyshortcuts="/"
            value={search}
            onChange={({ target }) => setSearch(target.value)}
          />
          {keepers.length > 1 && (
            <select
              aria-label="Actor"
              value={actor}
              onChange={({ target }) => router.go({ keeper: target.value, conversation: undefined })}
            >
              {keepers.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        </search>
        <ConversationList key={actor} actor={actor} search={search} />
      </section>
      {conversation === undefined ? (
        <div className="empty faint">Choose a conversation.</div>
      ) : (
        <ConversationPage key={`${actor} ${conversation}`} actor={actor} id={conversation} />
      )}
    </main>
  )
}
