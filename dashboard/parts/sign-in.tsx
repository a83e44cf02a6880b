import { useId } from 'react'

type SignInProps = {
  /** Why the credentials of before were refused. Undefined: there were none. */
  why: string | undefined
  isForbidden: boolean
  use: (token: string) => void
}

/** Asks for a token, where the server takes nobody without one. */
export function SignIn({ why, isForbidden, use }: SignInProps) {
  const id = useId()
  const submit = (form: FormData): void => {
    const token = form.get('token')
    if (typeof token === 'string' && token.trim() !== '') use(token.trim())
  }
  return (
    <main className="sign-in">
      <svg className="logo" viewBox="0 0 24 24" aria-hidden="true">
        <path d="M3 9.5q4.5-4 9 0t9 0" />
        <path d="M3 15.5q4.5-4 9 0t9 0" />
      </svg>
      <h1>
        {isForbidden ? 'This page may not connect' : why === undefined ? 'Open the dashboard' : 'The token was refused'}
      </h1>
      {isForbidden ? (
        <p role="alert">{why}</p>
      ) : (
        <p role={why === undefined ? undefined : 'alert'}>
          {why === undefined ? 'This server needs a token. ' : 'The server does not know it, or it has expired. '}
          It is the one of the server’s config file, or the one in the address that <code>millrace serve</code> printed.
        </p>
      )}
      <form action={submit}>
        <label htmlFor={id}>Token</label>
        <input id={id} name="token" type="password" autoComplete="off" spellCheck={false} required />
        <button type="submit" className="primary">
          Connect
        </button>
      </form>
      <p className="faint">It is kept in this tab only, and sent to this server only.</p>
    </main>
  )
}
