import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TokenRequest, tokens } from '../processes/token-source.ts'
import type { Peer } from './peer.ts'

/** Server-sent events of `node:http`, read with `fetch`: one request for each stream, which is aborted to cancel it. */
export const sse: Peer = {
  async serve() {
    const server = createServer((request, response) => {
      void (async () => {
        const asked = JSON.parse(new URL(request.url!, 'http://host').searchParams.get('request')!) as TokenRequest
        const controller = new AbortController()
        let drained = (): void => {}
        response.on('drain', () => drained())
        response.on('close', () => {
          controller.abort()
          drained()
        })
        response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
        response.flushHeaders()
        for await (const text of tokens(asked, controller.signal)) {
          if (controller.signal.aborted) break
          if (response.write(`data: ${JSON.stringify(text)}\n\n`)) continue
          await new Promise<void>((resolve) => (drained = resolve))
        }
        response.end('data: [DONE]\n\n')
      })()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return { port: (server.address() as AddressInfo).port }
  },

  async connect(port) {
    return {
      read: (request) => events(`http://127.0.0.1:${port}/?request=${encodeURIComponent(JSON.stringify(request))}`),
      async close() {},
    }
  },
}

async function* events(url: string): AsyncGenerator<string, undefined> {
  const controller = new AbortController()
  try {
    const { body } = await fetch(url, { signal: controller.signal })
    let rest = ''
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        if (!line.startsWith('data: ')) continue
        const data = line.slice('data: '.length)
        if (data === '[DONE]') return
        yield JSON.parse(data) as string
      }
    }
    throw new Error('the response broke off')
  } finally {
    controller.abort()
  }
}
