import { SUBPROTOCOL, type Welcome } from '../../protocol/frames.ts'
import { STATED_LIMITS } from '../../protocol/limits.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import { needed } from './peer.ts'

export const greetingChecks: readonly ServerCheck[] = [
  {
    name: 'handshake',
    level: 'minimal',
    section: 'WebSocket',
    rule: 'The server takes the subprotocol millrace.v1.',
    hint: 'Answer the handshake with Sec-WebSocket-Protocol: millrace.v1.',
    isEssential: true,
    async run(bench) {
      await using peer = await bench.connect({ hello: false })
      must(peer.subprotocol === SUBPROTOCOL, `the subprotocol ${SUBPROTOCOL}`, `"${peer.subprotocol}"`)
    },
  },
  {
    name: 'welcome',
    level: 'minimal',
    section: 'WELCOME',
    rule: 'The server answers HELLO with WELCOME, before any other frame.',
    hint: 'Check the credentials, then send WELCOME with session, known, limits and now.',
    isEssential: true,
    async run(bench) {
      await using peer = await bench.connect()
      const [first] = peer.frames
      must(first?.kind === 'welcome', 'WELCOME as the first frame', first?.kind ?? 'nothing')
      must(!first.known, 'known false for a new client instance', 'true')
      must(first.session !== '', 'an id of the session', '""')
    },
  },
  {
    name: 'limits',
    level: 'minimal',
    section: 'Limits',
    rule: 'WELCOME states the limits in force.',
    hint: 'State every limit whose row says "yes", and run the server with the limits of docs/conformance.md.',
    async run(bench) {
      await using peer = await bench.connect()
      const { limits } = peer.frames.find((frame): frame is Welcome => frame.kind === 'welcome')!
      for (const [name, value] of Object.entries(REFERENCE_LIMITS))
        if (name in STATED_LIMITS) same(limits[name as keyof typeof STATED_LIMITS], value, name)
    },
  },
  {
    name: 'subprotocol',
    level: 'minimal',
    section: 'WebSocket',
    rule: 'A server that is offered other subprotocols, or none, completes the handshake and closes with 4406.',
    hint: 'Accept the upgrade, with the first subprotocol offered if there is one, and close it then.',
    async run(bench) {
      for (const subprotocols of [['millrace.v999'], []]) {
        await using peer = await bench.connect({ subprotocols, hello: false })
        await peer.closesWith([4406], subprotocols.length > 0 ? 'for another subprotocol' : 'without a subprotocol')
      }
    },
  },
  {
    name: 'hello-first',
    level: 'minimal',
    section: 'Greeting',
    rule: 'Another frame before HELLO is malformed.',
    hint: 'Close with 4400 when the first frame of a connection is not HELLO.',
    async run(bench) {
      await using peer = await bench.connect({ hello: false })
      peer.send({ kind: 'ping', nonce: 1 })
      await peer.closesWith([4400], 'for a PING before HELLO')
    },
  },
  {
    name: 'hello-once',
    level: 'minimal',
    section: 'Greeting',
    rule: 'A second HELLO is malformed.',
    hint: 'Close with 4400 for a HELLO behind the first one.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.send({ kind: 'hello', client: peer.client, attempt: 2, auth: bench.token })
      await peer.closesWith([4400], 'for a second HELLO')
    },
  },
  {
    name: 'hello-size',
    level: 'minimal',
    section: 'Greeting',
    rule: 'The server closes with 4413 when a HELLO frame has more than helloBytes.',
    hint: 'Measure the HELLO frame before you decode its credentials.',
    async run(bench) {
      await using peer = await bench.connect({
        auth: 'x'.repeat(REFERENCE_LIMITS.helloBytes),
        hello: 'unanswered',
      })
      await peer.closesWith([4413, 4400], 'for a HELLO that is too large')
    },
  },
  {
    name: 'hello-in-time',
    level: 'minimal',
    section: 'Greeting',
    rule: 'The server closes with 4408 when no HELLO was accepted within helloMs.',
    hint: 'Start a timer at the upgrade, and stop it at WELCOME.',
    async run(bench) {
      await using peer = await bench.connect({ hello: false })
      await peer.closesWith([4408], 'without a HELLO', REFERENCE_LIMITS.helloMs + bench.lateMs)
    },
  },
  {
    name: 'credentials',
    level: 'minimal',
    section: 'Greeting',
    rule: 'The server answers refused credentials with NOTICE unauthenticated and a close with 4401.',
    hint: 'Send the NOTICE first, and do not say why.',
    async run(bench) {
      needed(bench.token, 'no --token was given: the server may take every client')
      await using peer = await bench.connect({ auth: `${bench.token} and more`, hello: 'unanswered' })
      const { code } = await peer.next('notice')
      same(code, 'unauthenticated', 'the code of the NOTICE')
      await peer.closesWith([4401], 'for a wrong token')
    },
  },
  {
    name: 'origin',
    level: 'minimal',
    section: 'Origin and credentials',
    rule: 'The server completes the handshake of a page of a foreign origin, closes with 4403, and reads nothing.',
    hint: 'Compare Origin with the host of the request and with the origins that are allowed.',
    async run(bench) {
      await using peer = await bench.connect({
        headers: { Origin: 'https://verify.invalid' },
        hello: 'unanswered',
      })
      await peer.closesWith([4403], 'for the origin https://verify.invalid')
      same(peer.frames.length, 0, 'the number of frames that were sent to that page')
    },
  },
  {
    name: 'heartbeat',
    level: 'minimal',
    section: 'Heartbeat',
    rule: 'The server sends a PING every heartbeatMs, unless two are unanswered.',
    hint: 'Ping every connection, also one whose client sends frames.',
    async run(bench) {
      await using peer = await bench.connect()
      const pings = (): number => peer.frames.filter(({ kind }) => kind === 'ping').length
      await peer.until(() => pings() >= 2, 'two PINGs', REFERENCE_LIMITS.heartbeatMs * 2 + bench.lateMs)
    },
  },
  {
    name: 'dead-client',
    level: 'minimal',
    section: 'Heartbeat',
    rule: 'The server ends the socket of a client of which nothing came for heartbeatMs + pongMs.',
    hint: 'Do not wait for a closing handshake: the client cannot answer it.',
    async run(bench) {
      await using peer = await bench.connect({ pong: false })
      const { heartbeatMs, pongMs } = REFERENCE_LIMITS
      await peer.until(
        () => peer.closeCode !== undefined,
        'an end of the silent socket',
        heartbeatMs + pongMs + 2 * bench.lateMs,
      )
    },
  },
  {
    name: 'ping',
    level: 'minimal',
    section: 'PING and PONG',
    rule: 'The last PING of a message is answered by a PONG with the same nonce.',
    hint: 'Answer where you read the socket, with the nonce as it came.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.send({ kind: 'ping', nonce: 7 }, { kind: 'ping', nonce: 2 ** 40 })
      const isLast = (): boolean => peer.frames.some((frame) => frame.kind === 'pong' && frame.nonce === 2 ** 40)
      await peer.until(isLast, `PONG with the nonce ${2 ** 40}`)
    },
  },
]
