import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createClient, type MillraceError } from '../../client-sdk/node.ts'
import type { Attach, DownFrame, Start } from '../../protocol/frames.ts'
import {
  type ListeningServer,
  type ListeningSocket,
  opened,
  type Script,
  ScriptedServer,
  welcome,
} from '../helpers/scripted-server.ts'

const delays = { quickMs: 1, backoffMs: 1, maxBackoffMs: 5 }
/** The items of the run, from 1. */
const texts = Array.from({ length: 12 }, (_, n) => `t${n + 1} `)

function items(sid: number, from: number, to: number): DownFrame {
  return { kind: 'delta', sid, seq: from, lane: 0, body: texts.slice(from - 1, to) }
}

function end(sid: number, seq = texts.length + 1): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'done', data: { ms: 1 } }
}

/** Sends the rest of the run, as a server should. */
function behave(request: Start | Attach, socket: ListeningSocket): void {
  const { sid } = request
  const next = nextOf(request)
  socket.say(opened(sid, { next }), ...(next <= texts.length ? [items(sid, next, texts.length)] : []), end(sid))
}

/** The first item that is due. */
function nextOf(request: Start | Attach): number {
  return (request.kind === 'attach' ? (request.after ?? 0) : 0) + 1
}

type Outcome = { read: string[]; error?: string }

/** Reads a run of `server` to its end, whatever that is. `isHasty`: the client soon gives up connecting. */
async function consume(server: ListeningServer, as: 'text' | 'events' = 'text', isHasty = false): Promise<Outcome> {
  const client = createClient(server.url, { delays, ...(isHasty && { connectMs: 200 }) })
  const read: string[] = []
  try {
    const run = client.start('any', null)
    if (as === 'text') for await (const text of run.text()) read.push(text)
    else for await (const event of run) if (event.type === 'token') read.push(event.text)
    return { read }
  } catch (error) {
    return { read, error: (error as MillraceError).code }
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

/** What a server sends in place of the rest of the run, behind OPENED and items 1 to 5. */
type Misbehaviour = [name: string, act: (sid: number, socket: ListeningSocket) => void]

const wrongOrder: Misbehaviour[] = [
  ['an item is missing', (sid, socket) => socket.say(items(sid, 7, 12), end(sid))],
  ['a whole message is missing', (sid, socket) => socket.say(items(sid, 11, 12), end(sid))],
  ['two messages are swapped', (sid, socket) => socket.say(items(sid, 9, 12), items(sid, 6, 8), end(sid))],
  ['the last items are missing before the end', (sid, socket) => socket.say(items(sid, 6, 8), end(sid))],
  ['all further items are missing before the end', (sid, socket) => socket.say(end(sid))],
  [
    'a merged text overlaps what came',
    (sid, socket) =>
      socket.say({ kind: 'delta', sid, seq: 4, lane: 0, body: 'overlap', count: 4 }, items(sid, 8, 12), end(sid)),
  ],
  [
    'more comes than there is credit for',
    (sid, socket) => {
      for (let n = 0; n < 4; n++) {
        const body = Array.from({ length: 2_000 }, () => 'flood')
        socket.say({ kind: 'delta', sid, seq: 6 + n * 2_000, lane: 0, body })
      }
    },
  ],
  [
    'a merged text costs more than the credit',
    (sid, socket) => {
      socket.say({ kind: 'delta', sid, seq: 6, lane: 0, body: 'flood', count: 300 }, end(sid, 306))
    },
  ],
]

const harmless: Misbehaviour[] = [
  [
    'items come twice',
    (sid, socket) => socket.say(items(sid, 1, 5), items(sid, 3, 8), items(sid, 6, 12), items(sid, 1, 12), end(sid)),
  ],
  ['the end comes twice', (sid, socket) => socket.say(items(sid, 6, 12), end(sid), end(sid), items(sid, 1, 12))],
  [
    'OPENED comes twice',
    (sid, socket) => socket.say(opened(sid), opened(sid, { next: 6, run: 'r_2' }), items(sid, 6, 12), end(sid)),
  ],
  ['WELCOME comes twice', (sid, socket) => socket.say(welcome(), items(sid, 6, 12), end(sid))],
  [
    'there are items and ends of unknown streams',
    (sid, socket) =>
      socket.say(items(sid + 1, 6, 7), end(sid + 7), items(2 ** 53 - 1, 1, 2), items(sid, 6, 12), end(sid)),
  ],
  [
    'there are lists that nobody asked for',
    (sid, socket) => {
      const info = { actor: 'any', state: 'dreaming', gen: 1, seq: 0, startedAt: 0 }
      socket.say({ kind: 'listed', sid, run: 'r_1', info }, { kind: 'listed', sid }, { kind: 'listed', sid: sid + 1 })
      socket.say(items(sid, 6, 12), { kind: 'listed', sid, run: 'r_1' }, end(sid), { kind: 'listed', sid })
    },
  ],
  [
    'there is an unknown frame that may be skipped',
    (sid, socket) => {
      socket.sayBytes(Buffer.from('9260a1789161', 'hex'))
      socket.say(items(sid, 6, 12), end(sid))
    },
  ],
  [
    'there are 100 PINGs in one message',
    (sid, socket) =>
      socket.say(
        ...Array.from({ length: 100 }, (_, nonce): DownFrame => ({ kind: 'ping', nonce })),
        items(sid, 6, 12),
        end(sid),
      ),
  ],
  [
    'there are notices and acknowledgements that refer to nothing',
    (sid, socket) =>
      socket.say(
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
      ),
  ],
]

const broken: Misbehaviour[] = [
  ['a text message', (_, socket) => socket.sayText('hello')],
  ['a text message that is a number', (_, socket) => socket.sayText('8000000000')],
  ['an empty message', (_, socket) => socket.sayBytes(new Uint8Array(0))],
  ['an empty text', (_, socket) => socket.sayText('')],
  ['an unknown critical tag', (_, socket) => socket.sayBytes(Buffer.from('920001', 'hex'))],
  ['a frame of a client', (_, socket) => socket.sayBytes(Buffer.from('93040101', 'hex'))],
  ['an extension type', (_, socket) => socket.sayBytes(Buffer.from('9540010600d40100', 'hex'))],
  ['text that is not UTF-8', (_, socket) => socket.sayBytes(Buffer.from('9540010600a1ff', 'hex'))],
  ['nesting 64 KiB deep', (_, socket) => socket.sayBytes(Buffer.alloc(65_536, 0x91))],
  ['a header of 4 billion values', (_, socket) => socket.sayBytes(Buffer.from('ddffffffff', 'hex'))],
  ['a message larger than allowed', (_, socket) => socket.sayBytes(Buffer.alloc(131_073, 0xc0))],
  ['a message cut short', (_, socket) => socket.sayBytes(Buffer.from('9540010600', 'hex'))],
]

/** Opens every stream and sends items 1 to 5 of it, then misbehaves: the first `times` times. */
function misbehaving(times: number, act: Misbehaviour[1]): Script {
  let opens = 0
  return {
    answer(request, socket) {
      if (opens++ >= times) {
        behave(request, socket)
        return
      }
      const { sid } = request
      const next = nextOf(request)
      socket.say(opened(sid, { next }), ...(next <= 5 ? [items(sid, next, 5)] : []))
      act(sid, socket)
    },
  }
}

describe('a client whose server misbehaves gives its reader no wrong token, and', () => {
  test.each(wrongOrder)('resumes and reads everything when, once, %s', async (_, act) => {
    await using server = await ScriptedServer.listen(misbehaving(1, act))
    expect(await consume(server)).toEqual({ read: texts })
    expect(await server.sockets[0]?.closed).toBe(4420)
  })

  test.each(wrongOrder)('fails with `internal` when, again and again, %s', async (_, act) => {
    await using server = await ScriptedServer.listen(misbehaving(Number.POSITIVE_INFINITY, act))
    const { read, error } = await consume(server)
    expect(error).toBe('internal')
    expect(read).toEqual(texts.slice(0, read.length))
  })

  test.each(harmless)('reads everything although %s', async (_, act) => {
    await using server = await ScriptedServer.listen(misbehaving(1, act))
    expect(await consume(server)).toEqual({ read: texts })
  })

  test.each(broken)('fails with `internal` when the server sends %s', async (_, act) => {
    await using server = await ScriptedServer.listen(misbehaving(Number.POSITIVE_INFINITY, act))
    const { read, error } = await consume(server)
    expect(error).toBe('internal')
    expect(read).toEqual(texts.slice(0, read.length))
  })

  test('does not read another run that is opened in place of its own after a loss', async () => {
    await using server = await ScriptedServer.listen({
      answer(request, socket) {
        const { sid } = request
        if (request.kind === 'start') {
          socket.say(opened(sid), items(sid, 1, 5))
          socket.close(1012)
          return
        }
        socket.say(
          opened(sid, { next: 6, run: 'r_other' }),
          { kind: 'delta', sid, seq: 6, lane: 0, body: ['not', 'mine'] },
          end(sid, 8),
        )
      },
    })
    const { read, error } = await consume(server)
    expect(error).toBe('internal')
    expect(read).toEqual(texts.slice(0, 5))
  })

  test('ignores items that come before OPENED', async () => {
    await using server = await ScriptedServer.listen({
      answer(request, socket) {
        socket.say({ kind: 'delta', sid: request.sid, seq: 1, lane: 0, body: 'early' })
        behave(request, socket)
      },
    })
    expect(await consume(server)).toEqual({ read: texts })
  })

  test.each([0, 1, 3, 2 ** 53 - 1])('survives a gap that leads to item %i', async (next) => {
    const script = misbehaving(1, (sid, socket) => {
      socket.say({ kind: 'gap', sid, from: 6, next, reason: 'rewound' }, end(sid, Math.max(1, next)))
    })
    await using server = await ScriptedServer.listen(script)
    const { read, error } = await consume(server)
    expect(error ?? 'interrupted').toMatch(/^(interrupted|internal)$/)
    expect(read).toEqual(texts.slice(0, read.length))
  })
})

describe('a run of a client comes to an end', () => {
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
    'when WELCOME says that %s is %i',
    async (name, value) => {
      await using server = await ScriptedServer.listen({ limits: { [name]: value, resumeMs: 400 }, answer: behave })
      const { read, error } = await consume(server, 'text', true)
      expect(read).toEqual(texts.slice(0, read.length))
      if (error === undefined) expect(read).toEqual(texts)
      expect(server.sockets.length, 'connections').toBeLessThan(500)
    },
  )

  test.each(absurd)('when WELCOME says that every limit is %i', async (value) => {
    const limits = Object.fromEntries(names.map((name) => [name, value]))
    await using server = await ScriptedServer.listen({ limits: { ...limits, resumeMs: 400 }, answer: behave })
    const { read, error } = await consume(server, 'text', true)
    if (error === undefined) expect(read).toEqual(texts)
  })

  test.each([
    ['never says WELCOME', { greet: () => {}, answer: () => {} }],
    ['never answers a START', { limits: { heartbeatMs: 30, pongMs: 30, endedMs: 400 }, answer: () => {} }],
    [
      'refuses every START for now',
      {
        answer: ({ sid }: Start | Attach, socket: ListeningSocket) =>
          socket.say({
            kind: 'end',
            sid,
            seq: 0,
            outcome: 'error',
            data: { code: 'overloaded', message: '', retryable: true },
          }),
      },
    ],
    [
      'opens a run and refuses to go on with it',
      {
        limits: { resumeMs: 400 },
        answer(request: Start | Attach, socket: ListeningSocket) {
          const { sid } = request
          if (request.kind === 'attach') {
            socket.say({
              kind: 'end',
              sid,
              seq: 0,
              outcome: 'error',
              data: { code: 'constructor', message: 'x', retryable: true },
            })
            return
          }
          socket.say(opened(sid))
          socket.terminate()
        },
      },
    ],
    ...[
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 3000, 4000, 4400, 4401, 4403, 4408, 4409, 4413, 4420, 4429,
      4430, 4499, 4503,
    ].map((code): [string, Script] => [
      `closes with ${code} at each START and ATTACH`,
      { answer: (_, socket) => socket.close(code) },
    ]),
  ] as [string, Script][])('when its server %s', async (_, script) => {
    await using server = await ScriptedServer.listen(script)
    const { read, error } = await consume(server, 'text', true)
    expect(read).toEqual([])
    expect(error).toBeDefined()
    expect(server.sockets.length, 'connections').toBeLessThan(1_000)
  })

  test.each([0, 1, 'x', null, [1], {}, { lane: {} }, { type: [] }])(
    'when every type of event has the data %o',
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
      const script = misbehaving(1, (sid, socket) => {
        socket.say(
          ...Array.from(
            { length: 20 },
            (_, n): DownFrame => ({ kind: 'event', sid, seq: 6 + n, type: n, data, cost: 1 }),
          ),
        )
        socket.say({ kind: 'end', sid, seq: 26, outcome: 'done', data: { result: value, usage: value } })
      })
      await using server = await ScriptedServer.listen(script)
      expect(await consume(server, 'events')).toEqual({ read: texts.slice(0, 5) })
    },
  )

  test.each(['done', 'error', 'cancelled', 'unsubscribed'] as const)(
    'when the data of END %s is nonsense',
    async (outcome) => {
      const script = misbehaving(1, (sid, socket) =>
        socket.say({
          kind: 'end',
          sid,
          seq: 6,
          outcome,
          data: { code: 7, message: [], retryable: 'x', details: null },
        }),
      )
      await using server = await ScriptedServer.listen(script)
      const { read } = await consume(server, 'text', true)
      expect(read).toEqual(texts.slice(0, 5))
    },
  )
})
