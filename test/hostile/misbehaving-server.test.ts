import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createClient, type MillraceError } from '../../client-sdk/node.ts'
import type { Attach, DownFrame, Start } from '../../protocol/frames.ts'
import { type Liar, type LyingServer, lyingServer, type Script, welcome } from '../helpers/lying-server.ts'

const delays = { quickMs: 1, backoffMs: 1, maxBackoffMs: 5 }
const run = 'r_1'
/** The items of the run, from 1. */
const truth = Array.from({ length: 12 }, (_, n) => `t${n + 1} `)

function opened(sid: number, next = 1, more: object = {}): DownFrame {
  return { kind: 'opened', sid, next, run, gen: 1, credit: 256, ...more }
}

function items(sid: number, from: number, to: number): DownFrame {
  return { kind: 'delta', sid, seq: from, lane: 0, body: truth.slice(from - 1, to) }
}

function end(sid: number, seq = truth.length + 1): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'done', data: { ms: 1 } }
}

/** Says the rest of the run, as an honest server would. */
function honest(request: Start | Attach, liar: Liar): void {
  const { sid } = request
  const after = request.kind === 'attach' ? (request.after ?? 0) : 0
  liar.say([opened(sid, after + 1), ...(after < truth.length ? [items(sid, after + 1, truth.length)] : []), end(sid)])
}

type Outcome = { texts: string[]; error?: string }

/** Reads a run of `server` to its end, whatever that is. */
async function consume(server: LyingServer, read: 'text' | 'events' = 'text'): Promise<Outcome> {
  const client = createClient(server.url, { connectMs: 200, delays })
  const texts: string[] = []
  try {
    const reading = client.start('any', null)
    if (read === 'text') for await (const text of reading.text()) texts.push(text)
    else for await (const event of reading) if (event.type === 'token') texts.push(event.text)
    return { texts }
  } catch (error) {
    return { texts, error: (error as MillraceError).code }
  } finally {
    await client.close({ runs: 'detach' })
  }
}

const uncaught: unknown[] = []
const note = (error: unknown): void => void uncaught.push(error)
beforeEach(() => {
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
})
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  process.off('uncaughtException', note)
  expect(uncaught.splice(0)).toEqual([])
})

/** What a lying server says in place of the rest of the run, behind OPENED and items 1 to 5. */
type Lie = [name: string, tell: (sid: number, liar: Liar) => void]

const wrongOrder: Lie[] = [
  ['an item is missing', (sid, liar) => liar.say([items(sid, 7, 12), end(sid)])],
  ['a whole message is missing', (sid, liar) => liar.say([items(sid, 11, 12), end(sid)])],
  ['two messages are swapped', (sid, liar) => liar.say([items(sid, 9, 12), items(sid, 6, 8), end(sid)])],
  ['the last items are missing before the end', (sid, liar) => liar.say([items(sid, 6, 8), end(sid)])],
  ['all further items are missing before the end', (sid, liar) => liar.say([end(sid)])],
  [
    'a merged text overlaps what came',
    (sid, liar) =>
      liar.say([{ kind: 'delta', sid, seq: 4, lane: 0, body: 'overlap', count: 4 }, items(sid, 8, 12), end(sid)]),
  ],
  [
    'more comes than there is credit for',
    (sid, liar) => {
      for (let n = 0; n < 4; n++) {
        const body = Array.from({ length: 2_000 }, () => 'flood')
        liar.say([{ kind: 'delta', sid, seq: 6 + n * 2_000, lane: 0, body }])
      }
    },
  ],
  [
    'a merged text costs more than the credit',
    (sid, liar) => {
      liar.say([{ kind: 'delta', sid, seq: 6, lane: 0, body: 'flood', count: 300 }, end(sid, 306)])
    },
  ],
]

const harmless: Lie[] = [
  [
    'items come twice',
    (sid, liar) => liar.say([items(sid, 1, 5), items(sid, 3, 8), items(sid, 6, 12), items(sid, 1, 12), end(sid)]),
  ],
  ['the end comes twice', (sid, liar) => liar.say([items(sid, 6, 12), end(sid), end(sid), items(sid, 1, 12)])],
  [
    'OPENED comes twice',
    (sid, liar) => liar.say([opened(sid, 1), opened(sid, 6, { run: 'r_2' }), items(sid, 6, 12), end(sid)]),
  ],
  ['WELCOME comes twice', (sid, liar) => liar.say([welcome(), items(sid, 6, 12), end(sid)])],
  [
    'streams are spoken of that there are not',
    (sid, liar) =>
      liar.say([items(sid + 1, 6, 7), end(sid + 7), items(2 ** 53 - 1, 1, 2), items(sid, 6, 12), end(sid)]),
  ],
  [
    'an unknown tag that may be skipped',
    (sid, liar) => {
      liar.say(Buffer.from('9260a1789161', 'hex'))
      liar.say([items(sid, 6, 12), end(sid)])
    },
  ],
  [
    '100 PINGs in one message',
    (sid, liar) =>
      liar.say([
        ...Array.from({ length: 100 }, (_, nonce): DownFrame => ({ kind: 'ping', nonce })),
        items(sid, 6, 12),
        end(sid),
      ]),
  ],
  [
    'notices and acknowledgements of nothing',
    (sid, liar) =>
      liar.say([
        { kind: 'notice', code: '__proto__', message: '', ref: { tag: 5, sid, detail: ['call', 'x'] } },
        { kind: 'notice', code: 'forbidden', message: '', ref: { tag: 5, sid } },
        { kind: 'notice', code: 'settled', message: 'x', ref: { tag: 67, sid, detail: { a: 1 } } },
        { kind: 'notice', code: 'not_found', message: 'x', ref: { tag: 6, sid: 99 } },
        { kind: 'input_ack', sid, mid: 'x', status: 'accepted' },
        { kind: 'input_ack', sid, mid: new Uint8Array(32), status: 'busy' },
        { kind: 'pong', nonce: 99 },
        { kind: 'goaway', reason: '', graceMs: 2 ** 53 - 1, retryAfterMs: 2 ** 53 - 1 },
        items(sid, 6, 12),
        end(sid),
      ]),
  ],
]

const broken: Lie[] = [
  ['a text message', (_, liar) => liar.say('hello')],
  ['a text message that is a number', (_, liar) => liar.say('8000000000')],
  ['an empty message', (_, liar) => liar.say(new Uint8Array(0))],
  ['an empty text', (_, liar) => liar.say('')],
  ['an unknown critical tag', (_, liar) => liar.say(Buffer.from('920001', 'hex'))],
  ['a frame of a client', (_, liar) => liar.say(Buffer.from('93040101', 'hex'))],
  ['an extension type', (_, liar) => liar.say(Buffer.from('9540010600d40100', 'hex'))],
  ['text that is not UTF-8', (_, liar) => liar.say(Buffer.from('9540010600a1ff', 'hex'))],
  ['nesting 64 KiB deep', (_, liar) => liar.say(Buffer.alloc(65_536, 0x91))],
  ['a header of 4 billion values', (_, liar) => liar.say(Buffer.from('ddffffffff', 'hex'))],
  ['a message larger than allowed', (_, liar) => liar.say(Buffer.alloc(131_073, 0xc0))],
  ['a message cut short', (_, liar) => liar.say(Buffer.from('9540010600', 'hex'))],
]

/** A server that opens every stream, says items 1 to 5 of it and then lies: the first `lies` times. */
function lying(lies: number, tell: Lie[1]): Script {
  let told = 0
  return {
    asked(request, liar) {
      if (told++ >= lies) {
        honest(request, liar)
        return
      }
      const { sid } = request
      const after = request.kind === 'attach' ? (request.after ?? 0) : 0
      liar.say([opened(sid, after + 1), ...(after < 5 ? [items(sid, after + 1, 5)] : [])])
      tell(sid, liar)
    },
  }
}

describe('a client whose server lies never gives its reader a wrong token', () => {
  test.each(wrongOrder)('once, and %s: it resumes and reads everything', async (_, tell) => {
    await using server = await lyingServer(lying(1, tell))
    expect(await consume(server)).toEqual({ texts: truth })
    expect(await server.closed(0)).toBe(4420)
  })

  test.each(wrongOrder)('again and again, and %s: it stops with `internal`', async (_, tell) => {
    await using server = await lyingServer(lying(Number.POSITIVE_INFINITY, tell))
    const { texts, error } = await consume(server)
    expect(error).toBe('internal')
    expect(truth.slice(0, texts.length)).toEqual(texts)
  })

  test.each(harmless)('%s: nothing comes of it', async (_, tell) => {
    await using server = await lyingServer(lying(1, tell))
    expect(await consume(server)).toEqual({ texts: truth })
  })

  test.each(broken)('%s: it stops', async (_, tell) => {
    await using server = await lyingServer(lying(Number.POSITIVE_INFINITY, tell))
    const { texts, error } = await consume(server)
    expect(error).toBe('internal')
    expect(texts).toEqual(truth.slice(0, texts.length))
  })

  test('another run is opened in place of its own after a loss: it does not read it', async () => {
    await using server = await lyingServer({
      asked(request, liar) {
        const { sid } = request
        if (request.kind === 'start') {
          liar.say([opened(sid), items(sid, 1, 5)])
          liar.socket.close(1012)
          return
        }
        liar.say([
          opened(sid, 6, { run: 'r_other' }),
          { kind: 'delta', sid, seq: 6, lane: 0, body: ['not', 'mine'] },
          end(sid, 8),
        ])
      },
    })
    const { texts, error } = await consume(server)
    expect(error).toBe('internal')
    expect(texts).toEqual(truth.slice(0, 5))
  })

  test('items come before OPENED: they are not taken', async () => {
    await using server = await lyingServer({
      asked(request, liar) {
        liar.say([{ kind: 'delta', sid: request.sid, seq: 1, lane: 0, body: 'early' }])
        honest(request, liar)
      },
    })
    expect(await consume(server)).toEqual({ texts: truth })
  })

  test.each([0, 1, 3, 2 ** 53 - 1])('a gap leads to item %i: what is read is true', async (next) => {
    const script = lying(1, (sid, liar) => {
      liar.say([{ kind: 'gap', sid, from: 6, next, reason: 'rewound' }, end(sid, Math.max(1, next))])
    })
    await using server = await lyingServer(script)
    const { texts, error } = await consume(server)
    expect(error ?? 'interrupted').toMatch(/^(interrupted|internal)$/)
    expect(texts).toEqual(truth.slice(0, texts.length))
  })
})

describe('a client whose server is absurd does not hang', () => {
  const absurd = [0, 1, 2 ** 31, 2 ** 53 - 1]
  const names = [
    'maxStreams',
    'maxMessage',
    'maxDown',
    'maxEvent',
    'maxDepth',
    'maxValues',
    'creditUnit',
    'initialCredit',
    'maxCredit',
    'heartbeatMs',
    'pongMs',
    'endedMs',
    'helloMs',
    'cancelGraceMs',
    'constructor',
    'quickMs',
    'backoffMs',
    'maxBackoffMs',
    'connectMs',
  ]
  test.each(names.flatMap((name) => absurd.map((value) => [name, value] as const)))(
    'WELCOME says %s is %i',
    async (name, value) => {
      await using server = await lyingServer({ limits: { [name]: value, resumeMs: 400 }, asked: honest })
      const { texts, error } = await consume(server)
      expect(texts).toEqual(truth.slice(0, texts.length))
      if (error === undefined) expect(texts).toEqual(truth)
      expect(server.liars.length, 'connections').toBeLessThan(500)
    },
  )

  test.each(absurd)('WELCOME says every limit is %i', async (value) => {
    const limits = Object.fromEntries(names.map((name) => [name, value]))
    await using server = await lyingServer({ limits: { ...limits, resumeMs: 400 }, asked: honest })
    const { texts, error } = await consume(server)
    if (error === undefined) expect(texts).toEqual(truth)
  })

  test.each([
    ['never says WELCOME', { greet: () => {}, asked: () => {} }],
    ['never answers a START', { limits: { heartbeatMs: 30, pongMs: 30, endedMs: 400 }, asked: () => {} }],
    [
      'refuses every START for now',
      {
        asked: ({ sid }: Start | Attach, liar: Liar) =>
          liar.say([
            { kind: 'end', sid, seq: 0, outcome: 'error', data: { code: 'overloaded', message: '', retryable: true } },
          ]),
      },
    ],
    [
      'opens a run and refuses to go on with it',
      {
        limits: { resumeMs: 400 },
        asked(request: Start | Attach, liar: Liar) {
          const { sid } = request
          if (request.kind === 'attach') {
            liar.say([
              {
                kind: 'end',
                sid,
                seq: 0,
                outcome: 'error',
                data: { code: 'constructor', message: 'x', retryable: true },
              },
            ])
            return
          }
          liar.say([opened(sid)])
          liar.socket.terminate()
        },
      },
    ],
    ...[
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 3000, 4000, 4400, 4401, 4403, 4408, 4409, 4413, 4420, 4429,
      4430, 4499, 4503,
    ].map((code): [string, Script] => [
      `closes with ${code} whenever it is asked`,
      { asked: (_, liar) => liar.socket.close(code) },
    ]),
  ] as [string, Script][])('%s', async (_, script) => {
    await using server = await lyingServer(script)
    const { texts, error } = await consume(server)
    expect(texts).toEqual([])
    expect(error).toBeDefined()
    expect(server.liars.length, 'connections').toBeLessThan(1_000)
  })

  test.each([0, 1, 'x', null, [1], {}, { lane: {} }, { type: [] }])(
    'every kind of event has the data %o',
    async (value) => {
      const data = {
        lane: value,
        type: value,
        call: value,
        outcome: value,
        receipt: value,
        request: value,
        agent: value,
        text: value,
        seq: value,
        at: value,
      }
      const script = lying(1, (sid, liar) => {
        liar.say(
          Array.from({ length: 20 }, (_, n): DownFrame => ({ kind: 'event', sid, seq: 6 + n, type: n, data, cost: 1 })),
        )
        liar.say([{ kind: 'end', sid, seq: 26, outcome: 'done', data: { result: value, usage: value } }])
      })
      await using server = await lyingServer(script)
      expect(await consume(server, 'events')).toEqual({ texts: truth.slice(0, 5) })
    },
  )

  test.each(['done', 'error', 'cancelled', 'unsubscribed'] as const)(
    'END %s says nothing it should',
    async (outcome) => {
      const script = lying(1, (sid, liar) =>
        liar.say([
          { kind: 'end', sid, seq: 6, outcome, data: { code: 7, message: [], retryable: 'x', details: null } },
        ]),
      )
      await using server = await lyingServer(script)
      const { texts } = await consume(server)
      expect(texts).toEqual(truth.slice(0, 5))
    },
  )
})
