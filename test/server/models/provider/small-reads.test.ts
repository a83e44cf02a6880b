import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { takeLittleAtATime } from '../../../../server/models/provider/small-reads.ts'

/** More than `fetch` holds for a body that nobody reads. */
const BODY = 'abcdefghijklmnopqrstuvwxyz012345'.repeat(32_768)
/** In as many turns of the event loop, what has been sent on this machine has arrived. */
const TURNS = 50
const HEAD = 'HTTP/1.1 200 OK\r\nconnection: close\r\n'
const RESPONSES = {
  'that ends with its connection': `${HEAD}\r\n${BODY}`,
  'with a length': `${HEAD}content-length: ${BODY.length}\r\n\r\n${BODY}`,
  'in chunks': `${HEAD}transfer-encoding: chunked\r\n\r\n${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`,
} as const

beforeAll(() => takeLittleAtATime())

describe.each(Object.entries(RESPONSES))('a response %s', (what, bytes) => {
  test('is whole for a slow reader, although its connection is closed before the reader has come to the end', async () => {
    const { response } = await answered(bytes, (socket) => socket.end())
    expect((await readSlowly(response)) === BODY).toBe(true)
  })

  test('and whose connection is reset ends for a reader who comes later, and nothing else does', async () => {
    const { response, socket } = await answered(bytes)
    socket.resetAndDestroy()
    await turns()
    const read = await readSlowly(response).catch((error: unknown) => (error as Error).message)
    // Where nothing else says how long it is, and the kernel reports the reset as an end, undici cannot know better.
    if (what === 'that ends with its connection') expect(BODY.startsWith(read) || read === 'terminated').toBe(true)
    else expect(read).toBe('terminated')
    const next = await answered('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    await expect(next.response.text()).resolves.toBe('ok')
    next.socket.destroy()
  })
})

test('a response that is shorter than its length fails for a slow reader', async () => {
  const { response } = await answered(RESPONSES['with a length'].slice(0, -1), (socket) => socket.end())
  await expect(readSlowly(response)).rejects.toThrow('terminated')
})

test('a response that nobody reads, and whose connection is closed, can be cancelled', async () => {
  const { response } = await answered(RESPONSES['that ends with its connection'], (socket) => socket.end())
  await response.body?.cancel()
  const next = await answered('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  await expect(next.response.text()).resolves.toBe('ok')
  next.socket.destroy()
})

describe('a connection that was upgraded', () => {
  test.each(['', 'hello'])('and on which %j has come ends for who reads it in pieces of its own', async (greeting) => {
    const { client, server } = await upgraded(greeting)
    let text = ''
    client.on('readable', () => {
      for (let piece = client.read(1); piece !== null; piece = client.read(1)) text += String(piece)
    })
    const ended = once(client, 'end')
    server.end(' and goodbye')
    await ended
    expect(text).toBe(`${greeting} and goodbye`)
  })

  test('gives all that has come to who reads it', async () => {
    const { client, server } = await upgraded(BODY.slice(0, 40_000))
    while (client.readableLength < 40_000) await turn()
    expect((client.read() as Buffer).length).toBe(40_000)
    server.destroy()
  })
})

const closeServers: (() => void)[] = []
afterAll(() => {
  for (const close of closeServers) close()
})

/** A response that waits for its reader. `then`: what its server does behind it. */
async function answered(
  bytes: string,
  then: (socket: Socket) => void = () => {},
): Promise<{ response: Response; socket: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  closeServers.push(() => server.close())
  await once(server, 'listening')
  const responding = fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  const [socket] = (await once(server, 'connection')) as [Socket]
  // A client that leaves before it has read everything resets the connection.
  socket.on('error', () => {})
  await once(socket, 'data')
  socket.write(bytes)
  then(socket)
  const response = await responding
  await turns()
  return { response, socket }
}

/** Both ends of a connection that undici has handed on. Behind the answer comes `greeting`. */
async function upgraded(greeting: string): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer().listen(0, '127.0.0.1')
  closeServers.push(() => listener.close())
  await once(listener, 'listening')
  const origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
  const upgrading = new Promise<Socket>((resolve, reject) => {
    const handler = {
      onConnect: () => {},
      onUpgrade: (_status: number, _headers: unknown, socket: Socket) => resolve(socket),
      onError: reject,
    }
    dispatcher().dispatch({ origin, path: '/', method: 'GET', upgrade: 'echo' }, handler)
  })
  const [server] = (await once(listener, 'connection')) as [Socket]
  await once(server, 'data')
  server.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n${greeting}`)
  return { client: await upgrading, server }
}

/** That of the `fetch` of Node. */
function dispatcher(): { dispatch(options: object, handler: object): unknown } {
  // Node loads it when one of the classes of `fetch` is looked at.
  expect(typeof Headers).toBe('function')
  return (globalThis as unknown as { [key: symbol]: ReturnType<typeof dispatcher> })[
    Symbol.for('undici.globalDispatcher.1')
  ]!
}

/** Reads with several turns between two pieces. */
async function readSlowly({ body }: Response): Promise<string> {
  const utf8 = new TextDecoder()
  let text = ''
  for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
    text += utf8.decode(piece, { stream: true })
    await turns()
  }
  return text
}

async function turns(): Promise<void> {
  for (let n = 0; n < TURNS; n++) await turn()
}
