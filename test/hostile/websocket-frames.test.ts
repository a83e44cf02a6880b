import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { OPCODE, RawSocket, rawFrame, type SocketEnd } from '../helpers/raw-socket.ts'
import { type TestServer, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

/** What a server answers: a PONG of the protocol with nonce 7, WebSocket pongs with these payloads, or this close code. */
type Reaction = { answered: true } | { pongs: string[] } | { close: number | number[] }

type Case = [name: string, bytes: Buffer[], reaction: Reaction]

/** A PING of the protocol with nonce 7. */
const ask = Buffer.from('921007', 'hex')
const answer = Buffer.from('921107', 'hex')
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const { continuation, text, binary, close, ping, pong } = OPCODE

const control = (opcode: number, payload = '', more: Parameters<typeof rawFrame>[1] = {}): Buffer =>
  rawFrame(Buffer.from(payload, 'latin1'), { opcode, ...more })
const part = (payload: Uint8Array, opcode: number, fin: boolean): Buffer => rawFrame(payload, { opcode, fin })
const closing = (payload: string): Buffer => rawFrame(hex(payload), { opcode: close })
/** A frame of an unknown tag that is skipped, so long that the message has `length` bytes with `ask` behind it. */
const padded = (length: number): Buffer => {
  const bytes = Buffer.alloc(length - ask.length, 0x61)
  hex('92 60 db').copy(bytes)
  bytes.writeUInt32BE(bytes.length - 7, 3)
  return Buffer.concat([bytes, ask])
}

const framing: Case[] = [
  ['the literal bytes of a masked PING message', [hex('82 83 00000000 921007')], { answered: true }],
  ['another masking key', [hex('82 83 37fa213d a5ea26')], { answered: true }],
  ['a length in 2 bytes where 7 bits would do', [rawFrame(ask, { lengthBytes: 2 })], { answered: true }],
  ['a length in 8 bytes where 7 bits would do', [rawFrame(ask, { lengthBytes: 8 })], { answered: true }],
  ...[125, 126, 127, 128, 65_535, 65_536, 262_144].map(
    (length): Case => [`a message of ${length} bytes`, [rawFrame(padded(length))], { answered: true }],
  ),
  ['a message of 262,145 bytes', [rawFrame(padded(262_145))], { close: 1009 }],
  ['a header that announces 2^31 bytes', [hex('82 ff 0000000080000000 00000000')], { close: 1009 }],
  ['a header that announces 2^53 bytes', [hex('82 ff 0020000000000000 00000000')], { close: 1009 }],
  ['a header that announces 2^63 bytes', [hex('82 ff 8000000000000000 00000000')], { close: [1002, 1009] }],
  ['a frame that is not masked', [rawFrame(ask, { masked: false })], { close: 1002 }],
  ['a ping that is not masked', [control(ping, 'x', { masked: false })], { close: 1002 }],
  ['an empty binary message', [rawFrame(Buffer.alloc(0))], { close: 4400 }],
]

const pings: Case[] = [
  ['a ping without payload', [control(ping)], { pongs: [''] }],
  ['a ping with payload', [control(ping, 'Hello')], { pongs: ['Hello'] }],
  ['a ping with bytes that are no text', [control(ping, '\x00\xff\xfe\xfd')], { pongs: ['\x00\xff\xfe\xfd'] }],
  ['a ping of 125 bytes', [control(ping, 'p'.repeat(125))], { pongs: ['p'.repeat(125)] }],
  ['a ping of 126 bytes', [control(ping, 'p'.repeat(126))], { close: 1002 }],
  ['ten pings', Array.from({ length: 10 }, (_, n) => control(ping, `${n}`)), { pongs: '0123456789'.split('') }],
  ['a ping sent one byte at a time', [...control(ping, 'slow')].map((byte) => Buffer.of(byte)), { pongs: ['slow'] }],
  ['an unsolicited pong', [control(pong, 'x'), rawFrame(ask)], { answered: true }],
  ['an unsolicited pong, then a ping', [control(pong, 'x'), control(ping, 'y')], { pongs: ['y'] }],
  ['a pong of 126 bytes', [control(pong, 'p'.repeat(126))], { close: 1002 }],
]

const reserved: Case[] = [
  ...[1, 2, 3, 4, 5, 6, 7].map(
    (bits): Case => [`reserved bits ${bits}`, [rawFrame(ask, { reserved: bits })], { close: 1002 }],
  ),
  ['reserved bits on a ping', [control(ping, '', { reserved: 4 })], { close: 1002 }],
  ['reserved bits on a close', [control(close, '', { reserved: 1 })], { close: 1002 }],
  [
    'reserved bits on a continuation',
    [part(ask, binary, false), control(continuation, '', { reserved: 2 })],
    { close: 1002 },
  ],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(
    (opcode): Case => [`opcode ${opcode}`, [rawFrame(ask, { opcode })], { close: 1002 }],
  ),
  ['a good message before an unknown opcode', [rawFrame(ask), rawFrame(ask, { opcode: 5 })], { close: 1002 }],
]

const fragments: Case[] = [
  [
    'two fragments',
    [part(ask.subarray(0, 1), binary, false), part(ask.subarray(1), continuation, true)],
    { answered: true },
  ],
  [
    'a fragment for each byte',
    [
      part(ask.subarray(0, 1), binary, false),
      part(ask.subarray(1, 2), continuation, false),
      part(ask.subarray(2), continuation, true),
    ],
    { answered: true },
  ],
  [
    'empty fragments between',
    [
      part(ask, binary, false),
      ...Array.from({ length: 10 }, () => part(Buffer.alloc(0), continuation, false)),
      part(Buffer.alloc(0), continuation, true),
    ],
    { answered: true },
  ],
  [
    'a ping between fragments',
    [part(ask.subarray(0, 2), binary, false), control(ping, 'between'), part(ask.subarray(2), continuation, true)],
    { pongs: ['between'] },
  ],
  [
    'fragments, one byte a TCP segment',
    [...Buffer.concat([part(ask.subarray(0, 2), binary, false), part(ask.subarray(2), continuation, true)])].map(
      (byte) => Buffer.of(byte),
    ),
    { answered: true },
  ],
  [
    'a message of 262,144 bytes in 256 fragments',
    Array.from({ length: 256 }, (_, n) =>
      part(padded(262_144).subarray(n * 1_024, (n + 1) * 1_024), n === 0 ? binary : continuation, n === 255),
    ),
    { answered: true },
  ],
  [
    'fragments of 262,145 bytes together',
    [
      part(padded(262_145).subarray(0, 200_000), binary, false),
      part(padded(262_145).subarray(200_000), continuation, true),
    ],
    { close: 1009 },
  ],
  ['a ping in fragments', [control(ping, 'a', { fin: false }), control(continuation, 'b')], { close: 1002 }],
  ['a pong in fragments', [control(pong, 'a', { fin: false }), control(continuation, 'b')], { close: 1002 }],
  ['a close in fragments', [control(close, '', { fin: false })], { close: 1002 }],
  ['a continuation of nothing', [part(ask, continuation, true)], { close: 1002 }],
  ['an unfinished continuation of nothing', [part(ask, continuation, false)], { close: 1002 }],
  ['a continuation after the last', [rawFrame(ask), part(ask, continuation, true)], { close: 1002 }],
  ['a new message among fragments', [part(ask, binary, false), rawFrame(ask)], { close: 1002 }],
  ['text among the fragments of binary', [part(ask, binary, false), part(ask, text, true)], { close: 1002 }],
]

const texts: Case[] = [
  ['a text message', [control(text, 'Hello')], { close: 4400 }],
  ['an empty text message', [control(text)], { close: 4400 }],
  ['a text message in fragments', [control(text, 'a', { fin: false }), control(continuation, 'b')], { close: 4400 }],
  [
    'text that is not UTF-8',
    [rawFrame(hex('ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80'), { opcode: text })],
    { close: 1007 },
  ],
  ['text with an overlong form', [rawFrame(hex('c0 af'), { opcode: text })], { close: 1007 }],
  ['text beyond U+10FFFF', [rawFrame(hex('f4 90 80 80'), { opcode: text })], { close: 1007 }],
  ['text that ends within a character', [rawFrame(hex('f0 90 80'), { opcode: text })], { close: 1007 }],
  [
    'text that is broken across fragments',
    [part(hex('ce ba e1'), text, false), part(hex('c0 80'), continuation, true)],
    { close: 1007 },
  ],
]

const closes: Case[] = [
  ['a close without payload', [control(close)], { close: 1005 }],
  ['a close with a payload of one byte', [closing('03')], { close: 1002 }],
  ...[1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999].map(
    (code): Case => [`close code ${code}`, [closing(code.toString(16).padStart(4, '0'))], { close: code }],
  ),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
    (code): Case => [`close code ${code}`, [closing(code.toString(16).padStart(4, '0'))], { close: 1002 }],
  ),
  ['a close with a reason', [closing('03e8 6279 65')], { close: 1000 }],
  ['a close with a reason of 123 bytes', [closing(`03e8 ${'61'.repeat(123)}`)], { close: 1000 }],
  ['a close of 126 bytes', [closing(`03e8 ${'61'.repeat(124)}`)], { close: 1002 }],
  ['a close whose reason is not UTF-8', [closing('03e8 cebae1bdb9cf83cebcceb5eda080')], { close: 1007 }],
  ['a message behind the close', [closing('03e8'), rawFrame(ask)], { close: 1000 }],
  ['a ping behind the close', [closing('03e8'), control(ping)], { close: 1000 }],
  ['two closes', [closing('03e8'), closing('03e9')], { close: 1000 }],
  ['an unfinished message before the close', [part(ask, binary, false), closing('03e8')], { close: 1000 }],
]

/** µWebSockets takes every frame for a masked one, and lets a new message begin among the fragments of another. */
const NOT_SEEN_BY_UWS = ['a frame that is not masked', 'a ping that is not masked', 'a new message among fragments']

/** The endings of µWebSockets: it cuts off a client that breaks a rule, and answers most close codes without one. */
function inUws({ close: code }: { close: number | number[] }): SocketEnd[] {
  const codes = [code].flat()
  return codes.includes(4400) ? codes : [...codes, 'reset', 1005]
}

describe.each([
  [onWs, ({ close }: { close: number | number[] }): SocketEnd[] => [close].flat(), []],
  [onUws, inUws, NOT_SEEN_BY_UWS],
] as const)('the server speaks RFC 6455 ($name)', (transport, endings, notSeen: readonly string[]) => {
  let server: TestServer<{ silent: ReturnType<typeof silent> }>
  let attempt = 0
  beforeAll(async () => {
    server = await testServer({ silent: silent() }, {}, transport)
  })
  afterAll(() => server[Symbol.asyncDispose]())

  describe.each([
    ['framing', framing],
    ['pings and pongs', pings],
    ['reserved bits and opcodes', reserved],
    ['fragmentation', fragments],
    ['text and UTF-8', texts],
    ['closing', closes],
  ] as [string, Case[]][])('%s', (_, cases) => {
    test.each(cases.filter(([name]) => !notSeen.includes(name)))(
      'takes or refuses %s as the RFC says',
      async (_name, bytes, reaction) => {
        await using raw = await RawSocket.open(server.url)
        const client = new Uint8Array(16)
        raw.message(encodeUp([{ kind: 'hello', auth: 'alice', client, attempt: ++attempt }]))
        await raw.until(() => raw.frames.length > 0, 'WELCOME')
        for (const chunk of bytes) raw.write(chunk)
        if ('answered' in reaction) {
          await raw.until(() => raw.frames.some(({ payload }) => payload.equals(answer)), 'PONG')
          return
        }
        if ('pongs' in reaction) {
          const pongs = (): string[] =>
            raw.frames.flatMap(({ opcode, payload }) => (opcode === pong ? [payload.toString('latin1')] : []))
          await raw.until(() => pongs().length >= reaction.pongs.length, 'pongs')
          expect(pongs()).toEqual(reaction.pongs)
          return
        }
        const ending = await raw.end()
        expect(endings(reaction)).toContain(ending)
        expect(raw.frames.filter(({ opcode }) => opcode === close)).toHaveLength(ending === 'reset' ? 0 : 1)
      },
    )
  })
})
