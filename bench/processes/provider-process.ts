/** The process of a model provider that says one word and then nothing, and notes when its socket was closed. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { machineUs } from '../stage/clock.ts'
import { answerCommands } from '../stage/commands.ts'

const closedAt = new Map<string, number>()

const server = createServer((request, response) => {
  void (async () => {
    let body = ''
    for await (const piece of request.setEncoding('utf8')) body += piece as string
    const { messages } = JSON.parse(body) as { messages: { content: string }[] }
    const id = messages.at(-1)!.content
    response.on('close', () => closedAt.set(id, machineUs()))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'well' } }] })}\n\n`)
  })()
})
server.listen(0, '127.0.0.1')

const commands = {
  async listening(): Promise<number> {
    if (!server.listening) await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },

  /** When the socket behind each of these was closed, as far as it was. */
  stopped: (ids: readonly string[]): (number | undefined)[] => ids.map((id) => closedAt.get(id)),
}

export type ProviderCommands = typeof commands

answerCommands(commands)
