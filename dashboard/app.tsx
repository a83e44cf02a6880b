import { useConnection } from 'millrace/react'
import { useEffect, useState } from 'react'
import { conversationsChunk, prefetchChunks } from './chunks.ts'
import { PageProvider, useFleet, usePlace } from './page-context.ts'
import { ChunkView } from './parts/chunk-view.tsx'
import { ConnectionNotice } from './parts/connection-notice.tsx'
import { Header } from './parts/header.tsx'
import { RunsView } from './parts/runs-view.tsx'
import { SignIn } from './parts/sign-in.tsx'
import type { Router } from './state/router.ts'
import { createSession, type Session } from './state/session.ts'
import type { ThemeChoice } from './state/theme.ts'
import { useNotices } from './use-notices.ts'
import { useShortcuts } from './use-shortcuts.ts'

type AppProps = {
  /** The token that the page was opened with. */
  token: string | undefined
  /** Keeps a token for a reload. Undefined forgets it. */
  keep: (token: string | undefined) => void
  router: Router
  theme: ThemeChoice
}

/** The page, with one set of credentials at a time. */
export function App({ token, keep, router, theme }: AppProps) {
  const connect = (given: string | undefined) => ({
    session: createSession(new URL(location.href), given),
    hasToken: given !== undefined,
  })
  const [{ session, hasToken }, setConnected] = useState(() => connect(token))
  useEffect(() => session.open(), [session])
  const use = (given: string | undefined): void => {
    keep(given)
    setConnected(connect(given))
  }
  return (
    <PageProvider value={{ session, router, theme }}>
      <Shell key={sessionName(session)} session={session} use={use} hasToken={hasToken} />
    </PageProvider>
  )
}

function Shell({
  session,
  use,
  hasToken,
}: {
  session: Session
  use: (token: string | undefined) => void
  hasToken: boolean
}) {
  const { status, error } = useConnection(session.client)
  const [wasOpen, setWasOpen] = useState(false)
  if (status === 'open' && !wasOpen) setWasOpen(true)
  useShortcuts()
  useNotices()
  const isRefused = status === 'closed' && (error?.code === 'unauthenticated' || error?.code === 'forbidden')
  if (isRefused)
    return (
      <SignIn
        why={hasToken || wasOpen || error.code === 'forbidden' ? error.message : undefined}
        isForbidden={error.code === 'forbidden'}
        use={use}
      />
    )
  return (
    <>
      <Header signOut={() => use(undefined)} />
      <ConnectionNotice status={status} error={error} wasOpen={wasOpen} />
      <View isOpen={status === 'open'} />
    </>
  )
}

function View({ isOpen }: { isOpen: boolean }) {
  const { view } = usePlace()
  const { isLoaded } = useFleet()
  useEffect(() => (isLoaded ? prefetchChunks() : undefined), [isLoaded])
  return (
    <div className="view" data-stale={isLoaded && !isOpen}>
      {view === 'runs' ? (
        <RunsView />
      ) : (
        <ChunkView chunk={conversationsChunk} name="The view of conversations">
          {(Conversations) => <Conversations />}
        </ChunkView>
      )}
    </div>
  )
}

let names = 0
const named = new WeakMap<Session, number>()

/** Another session is another page: nothing of the one before is shown with it. */
function sessionName(session: Session): number {
  const name = named.get(session) ?? ++names
  named.set(session, name)
  return name
}
