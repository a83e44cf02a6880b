import { expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import type { Socket, SocketAcceptor, Transport } from '../../../server/transports/transport.ts'
import { collected, type Held } from '../../helpers/garbage.ts'
import { testServer } from '../../helpers/server.ts'
import { onUws, onWs } from '../../helpers/transports.ts'

/** The same transport, which notes the request that each socket came with. */
function noting(transport: Transport, held: Held): Transport {
  const note = (host: SocketAcceptor): SocketAcceptor => ({
    verify: (request) => host.verify(request),
    accept(socket: Socket, subprotocol) {
      held['the request of a client'] = new WeakRef(socket.request)
      held['its headers'] = new WeakRef(socket.request.headers)
      return host.accept(socket, subprotocol)
    },
  })
  return {
    name: transport.name,
    listen: (host, limits, at) => transport.listen(note(host), limits, at),
    stopAccepting: () => transport.stopAccepting(),
    close: () => transport.close(),
  }
}

test.each([onWs, onUws])('a client that is welcome keeps nothing of its request in memory, on $name', async (by) => {
  const held: Held = {}
  const stream = async function* () {
    yield 'text'
  }
  const transport = noting(by.make(), held)
  await using server = await testServer({ chat: actor({ stream }) }, { transport }, by)
  const client = await server.client()

  await collected(held)

  client.start(1, 'chat')
  expect((await client.next('end', 1)).outcome).toBe('done')
})
