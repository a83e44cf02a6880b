import { invocation } from './invocation.ts'

/**
 * Why a WebSocket could not be opened, and what to do about it.
 * @param cause the error of the WebSocket.
 * @param address how the user names the address, such as `--url` or `the URL`.
 */
export function connectWords(cause: Error, address: string): string {
  const code = 'code' in cause ? String(cause.code) : ''
  const start = `start one with \`${invocation()} serve\`, or correct ${address}`
  const status = /Unexpected server response: (\d+)/.exec(cause.message)?.[1]
  if (status === '503') return 'the server is shutting down; try again later'
  if (status !== undefined) return `the server there is not a millrace server (HTTP ${status}): check ${address}`
  if (code === 'ECONNREFUSED') return `no server listens there; ${start}`
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `unknown host; check ${address}`
  if (/handshake has timed out/.test(cause.message))
    return `a server listens there and does not answer the WebSocket handshake: check ${address}`
  if (/SSL|EPROTO/.test(code)) return `the server there does not speak TLS as expected (${code}): check wss: and ws:`
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(code))
    return `its certificate is not trusted (${code}): name its authority in NODE_EXTRA_CA_CERTS`
  if (code !== '') return `${code}; ${start}`
  return `no millrace server answers there; ${start}`
}
