import { MillraceError } from '../../protocol/errors.ts'

/** Turns an error of the operating system into the `unavailable` error of `listen`. Its message says what to do. */
export function listenError(cause: NodeJS.ErrnoException, host: string, port: number): MillraceError {
  const why: { [code: string]: string } = {
    EADDRINUSE: `port ${port} is in use: stop the process that listens there, or choose another port (0 takes a free one)`,
    EACCES: `this process may not listen on port ${port}: choose a port above 1023`,
    EADDRNOTAVAIL: `${host} is not an address of this machine: choose one, such as 127.0.0.1`,
    ENOTFOUND: `${host} is not an address of this machine: choose one, such as 127.0.0.1`,
  }
  return new MillraceError(
    'unavailable',
    why[cause.code ?? ''] ?? `cannot listen on ${host}:${port} (${String(cause.code)})`,
    { cause },
  )
}
