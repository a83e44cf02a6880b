import { useState } from 'react'
import { useFleet, usePage, usePlace } from '../page-context.ts'
import { isLive } from '../state/fleet.ts'
import { count, rate } from '../state/format.ts'
import { useStore } from '../use-store.ts'
import { Icon } from './icon.tsx'
import { Link } from './link.tsx'

/** The top of the page: where one is, how much goes on, and how the page looks. */
export function Header({ signOut }: { signOut: () => void }) {
  const { view } = usePlace()
  const nowhere = { run: undefined, beside: undefined, conversation: undefined, tab: 'output' } as const
  return (
    <header className="header">
      <h1 className="brand">
        <Logo />
        millrace
      </h1>
      <nav aria-label="Views">
        <Link to={{ ...nowhere, view: 'runs' }} aria-current={view === 'runs' ? 'page' : undefined}>
          Runs
        </Link>
        <Link to={{ ...nowhere, view: 'conversations' }} aria-current={view === 'conversations' ? 'page' : undefined}>
          Conversations
        </Link>
      </nav>
      <Totals />
      <div className="tools">
        <NoticesButton />
        <ThemeButton />
        <button
          type="button"
          className="quiet"
          onClick={signOut}
          aria-label="Forget the token"
          title="Forget the token"
        >
          <Icon name="out" />
        </button>
      </div>
    </header>
  )
}

function Logo() {
  return (
    <svg className="logo" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M3 9.5q4.5-4 9 0t9 0" />
      <path d="M3 15.5q4.5-4 9 0t9 0" />
    </svg>
  )
}

function Totals() {
  const { all, itemsPerSec, scope, isLoaded } = useFleet()
  if (!isLoaded) return <p className="totals" />
  const live = all.filter(isLive).length
  return (
    <p className="totals">
      <b>{count(live)}</b> {live === 1 ? 'run' : 'runs'} <i /> <b>{rate(itemsPerSec)}</b> items/s
      {scope === 'all' && <span className="scope">of all principals</span>}
    </p>
  )
}

function ThemeButton() {
  const { theme } = usePage()
  const now = useStore(theme)
  const words = now === 'auto' ? 'Look: as the system' : `Look: ${now}`
  return (
    <button type="button" className="quiet" onClick={theme.turn} aria-label={words} title={words}>
      <Icon name={now} />
    </button>
  )
}

function NoticesButton() {
  const [permission, setPermission] = useState(() =>
    'Notification' in globalThis ? Notification.permission : 'denied',
  )
  const words =
    permission === 'granted'
      ? 'Notifications are on while the page is hidden'
      : permission === 'denied'
        ? 'Notifications are blocked by the browser'
        : 'Notify me when a run needs me and the page is hidden'
  return (
    <button
      type="button"
      className="quiet"
      disabled={permission !== 'default'}
      onClick={() => void Notification.requestPermission().then(setPermission)}
      aria-label={words}
      title={words}
    >
      <Icon name={permission === 'granted' ? 'bell' : 'bellOff'} />
    </button>
  )
}
