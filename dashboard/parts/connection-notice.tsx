import type { MillraceError, Status } from 'millrace/client'
import { usePage } from '../page-context.ts'

type NoticeProps = { status: Status; error: MillraceError | undefined; wasOpen: boolean }

/** Says that what is shown may be old, and what the page does about it. */
export function ConnectionNotice({ status, error, wasOpen }: NoticeProps) {
  const { session } = usePage()
  const isFine = status === 'open' || (!wasOpen && (status === 'connecting' || status === 'idle'))
  // It stays in the document, so that a screen reader says what comes into it.
  return (
    <div role="status" className="connection">
      {!isFine && (
        <p>
          <b>{status === 'closed' ? 'Not connected.' : 'Connection lost.'}</b>{' '}
          {status === 'closed'
            ? (error?.message ?? 'The server has closed the connection.')
            : 'Runs go on if the server does. The page comes back by itself, and then misses nothing of them.'}{' '}
          <button type="button" onClick={() => session.client.connect()}>
            Connect now
          </button>
        </p>
      )}
    </div>
  )
}
