const LINE_FEED = 10
const CARRIAGE_RETURN = 13

/**
 * A response whose body fails with `tooLarge()` as soon as one event of it, or the whole body if it has no events, is
 * longer than `maxBytes`. The package for MCP itself collects what a server sends without a limit.
 */
export function boundedResponse(response: Response, maxBytes: number, tooLarge: () => Error): Response {
  const { body, status, statusText, headers } = response
  if (!response.ok || !body) return response
  const hasEvents = headers.get('content-type')?.includes('text/event-stream') === true
  let bytes = 0
  let isLineEmpty = true
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.length
      for (let at = 0; hasEvents && at < chunk.length; at++) {
        // An event ends with an empty line.
        if (chunk[at] === LINE_FEED) {
          if (isLineEmpty) bytes = chunk.length - at - 1
          isLineEmpty = true
        } else if (chunk[at] !== CARRIAGE_RETURN) isLineEmpty = false
      }
      if (bytes > maxBytes) throw tooLarge()
      controller.enqueue(chunk)
    },
  })
  return new Response(body.pipeThrough(counter), { status, statusText, headers })
}
