import { describe, expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import type { DownFrame, UpFrame } from '../../protocol/frames.ts'
import { bytes, decoders, encoders, hex, plain } from '../helpers/codec-paths.ts'

const client = bytes('000102030405060708090a0b0c0d0e0f')

/** One of each, written out: what a person reads first in a dump of the wire. */
const upward: [string, UpFrame][] = [
  [
    '92 01 82 a6636c69656e74 c410000102030405060708090a0b0c0d0e0f a7617474656d7074 01',
    { kind: 'hello', client, attempt: 1 },
  ],
  [
    '92 01 85 a461757468 a174 a6636c69656e74 c410000102030405060708090a0b0c0d0e0f a7617474656d7074 02 a46e616d65 a3776562 a7666c7573684d73 10',
    { kind: 'hello', auth: 't', client, attempt: 2, name: 'web', flushMs: 16 },
  ],
  ['94 02 01 a463686174 a24869', { kind: 'start', sid: 1, actor: 'chat', input: 'Hi', options: {} }],
  [
    '95 02 01 a463686174 c0 82 a36b6579 a16b a6637265646974 cd0100',
    { kind: 'start', sid: 1, actor: 'chat', input: null, options: { key: 'k', credit: 256 } },
  ],
  ['94 03 02 a3725f31 00', { kind: 'attach', sid: 2, run: 'r_1', after: 0, options: {} }],
  ['95 03 02 a3725f31 c0 81 a367656e 01', { kind: 'attach', sid: 2, run: 'r_1', after: null, options: { gen: 1 } }],
  ['93 04 01 cc80', { kind: 'credit', sid: 1, n: 128 }],
  ['92 05 01', { kind: 'cancel', sid: 1 }],
  ['93 05 01 01', { kind: 'cancel', sid: 1, code: 1 }],
  ['95 05 01 c0 c0 92 a463616c6c a26331', { kind: 'cancel', sid: 1, target: { type: 'call', id: 'c1' } }],
  [
    '95 06 01 c4020102 a76d657373616765 a26869',
    { kind: 'input', sid: 1, mid: bytes('0102'), type: 'message', data: 'hi' },
  ],
  ['92 07 01', { kind: 'detach', sid: 1 }],
  ['93 08 01 14', { kind: 'rate', sid: 1, perSec: 20 }],
  ['93 08 01 c0', { kind: 'rate', sid: 1, perSec: null }],
  ['92 09 03', { kind: 'list', sid: 3 }],
  ['93 09 03 c3', { kind: 'list', sid: 3, watch: true }],
  ['92 10 05', { kind: 'ping', nonce: 5 }],
  ['92 11 05', { kind: 'pong', nonce: 5 }],
]

const downward: [string, DownFrame][] = [
  [
    '92 20 84 a773657373696f6e a3735f31 a56b6e6f776e c2 a66c696d697473 80 a36e6f77 05',
    { kind: 'welcome', session: 's_1', known: false, limits: {}, now: 5 },
  ],
  [
    '94 21 01 01 83 a372756e a3725f31 a367656e 01 a6637265646974 cd0100',
    { kind: 'opened', sid: 1, next: 1, run: 'r_1', gen: 1, credit: 256 },
  ],
  ['94 22 01 a26d31 01', { kind: 'input_ack', sid: 1, mid: 'm1', status: 'duplicate' }],
  [
    '94 23 a7736574746c6564 a0 93 43 01 00',
    { kind: 'notice', code: 'settled', message: '', ref: { tag: 0x43, sid: 1, detail: 0 } },
  ],
  ['93 24 a66465706c6f79 cd7530', { kind: 'goaway', reason: 'deploy', graceMs: 30_000 }],
  ['92 45 03', { kind: 'listed', sid: 3 }],
  ['94 45 03 a3725f31 81 a3736571 07', { kind: 'listed', sid: 3, run: 'r_1', info: { seq: 7 } }],
  ['95 40 01 01 00 a348656c', { kind: 'delta', sid: 1, seq: 1, lane: 0, body: 'Hel' }],
  ['95 40 01 02 00 92 a26c6f a6 20776f726c64', { kind: 'delta', sid: 1, seq: 2, lane: 0, body: ['lo', ' world'] }],
  ['96 40 01 02 00 a8 6c6f20776f726c64 03', { kind: 'delta', sid: 1, seq: 2, lane: 0, body: 'lo world', count: 3 }],
  ['97 40 01 02 00 a178 c0 09', { kind: 'delta', sid: 1, seq: 2, lane: 0, body: 'x', ts: 9 }],
  ['95 41 01 05 11 81 a4636f6465 a178', { kind: 'event', sid: 1, seq: 5, type: 17, data: { code: 'x' }, cost: 1 }],
  ['97 41 01 05 a16b 80 02 09', { kind: 'event', sid: 1, seq: 5, type: 'k', data: {}, cost: 2, ts: 9 }],
  ['95 42 01 05 09 03', { kind: 'gap', sid: 1, from: 5, next: 9, reason: 'rewound' }],
  ['96 42 01 05 05 02 81 a367656e 02', { kind: 'gap', sid: 1, from: 5, next: 5, reason: 'store_lost', gen: 2 }],
  ['95 43 01 ccd4 02 81 a46b657074 ccd3', { kind: 'end', sid: 1, seq: 212, outcome: 'cancelled', data: { kept: 211 } }],
  ['92 10 05', { kind: 'ping', nonce: 5 }],
  ['92 11 05', { kind: 'pong', nonce: 5 }],
]
describe.each([
  ['up', upward],
  ['down', downward],
] as const)('a frame that goes %s', (direction, frames) => {
  test.each(frames.map(([text, frame]) => ({ text, frame, kind: frame.kind })))(
    'of $kind is $text',
    ({ text, frame }) => {
      expect(hex(encoders[direction]([frame]))).toBe(text.replaceAll(' ', ''))
      expect(plain(decoders[direction].own(bytes(text)))).toEqual([plain(frame)])
      expect(plain(decoders[direction].scanned(bytes(text)))).toEqual([plain(frame)])
    },
  )

  test('may stand in a message behind any other: nothing is between them', () => {
    const message = bytes(frames.map(([text]) => text).join(''))
    expect(hex(encoders[direction](frames.map(([, frame]) => frame)))).toBe(hex(message))
    expect(plain(decoders[direction].own(message))).toEqual(frames.map(([, frame]) => plain(frame)))
  })
})

test('an option that is undefined is encoded as an absent one', () => {
  const given = { key: undefined, credit: 5, policy: undefined } as unknown as { credit: number }
  const frame: UpFrame = { kind: 'start', sid: 1, actor: 'a', input: undefined, options: given }
  expect(hex(encodeUp([frame]))).toBe(hex(encodeUp([{ ...frame, input: null, options: { credit: 5 } }])))
  const bare: UpFrame = { ...frame, options: { key: undefined } as unknown as { key: string } }
  expect(hex(encodeUp([bare]))).toBe('940201a161c0')
})

test('data that is undefined, and a hole of an array, are encoded as nil', () => {
  const sent = (data: unknown): string => hex(encodeUp([{ kind: 'input', sid: 1, mid: 'm', type: 'k', data }]))
  expect(sent(undefined)).toBe('950601a16da16bc0')
  // biome-ignore lint/suspicious/noSparseArray: an application may send one
  expect(sent([, 1])).toBe('950601a16da16b92c001')
})

test('the values of the strict decoder do not share the bytes of the message', () => {
  const message = encodeUp([{ kind: 'input', sid: 1, mid: bytes('0102'), type: 'k', data: bytes('0304') }])
  const frames = decoders.up.own(message)
  message.fill(0)
  expect(plain(frames)).toMatchObject([{ mid: { $bin: '0102' }, data: { $bin: '0304' } }])
})

test('a frame deeper than the receiver allows is refused before it is sent', () => {
  const start = (depth: number): UpFrame => ({ kind: 'start', sid: 1, actor: 'a', input: nested(depth), options: {} })
  expect(decoders.up.own(encodeUp([start(15)]))).toHaveLength(1)
  expect(() => encodeUp([start(16)])).toThrow('maxDepth')
  expect(encodeUp([start(16)], 17).length).toBeGreaterThan(16)
  expect(() => encodeUp([start(4)], 4)).toThrow('maxDepth')
})

function nested(depth: number): unknown {
  return depth === 0 ? 'x' : [nested(depth - 1)]
}
