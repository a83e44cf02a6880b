import { MillraceError } from '../../protocol/errors.ts'

/** Why nothing can listen at an address, as an error that says what to do; `code` is that of the operating system. */
export function listenError(cause: NodeJS.ErrnoException, host: string, port: number): MillraceError {
  const why: { [code: string]: string } = {
    EADDRINUSE: `port ${port} is in use: stop what listens there, or choose another port (0 takes a free one)`,
    EACCES: `port ${port} needs rights this process does not have: choose one above 1023`,
    EADDRNOTAVAIL: `${host} is no address of this machine`,
    ENOTFOUND: `${host} is no address of this machine`,
  }
  return new MillraceError(
    'unavailable',
    why[cause.code ?? ''] ?? `cannot listen on ${host}:${port} (${String(cause.code)})`,
    { cause },
  )
}
