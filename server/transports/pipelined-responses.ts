import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** By connection: its responses that are not over. */
const responsesOf = new WeakMap<Socket, Set<ServerResponse>>()

/**
 * Has a response that waits behind another one of its connection, as that of a pipelined request does, hear that the
 * connection has closed. Node tells that only to the one that is being sent: whoever reads a run for the others, and their
 * place among the connections, would stay for ever.
 */
export function closesWithConnection({ socket, httpVersionMajor }: IncomingMessage, response: ServerResponse): void {
  if (httpVersionMajor !== 1) return
  const known = responsesOf.get(socket)
  const responses = known ?? new Set()
  responses.add(response)
  response.once('close', () => responses.delete(response))
  if (known) return
  responsesOf.set(socket, responses)
  socket.once('close', () => {
    for (const waiting of responses) if (!waiting.socket) waiting.destroy().emit('close')
  })
}
