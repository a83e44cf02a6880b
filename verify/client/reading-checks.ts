import { EVENT } from '../../protocol/events.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { completes, done, reading, texts } from './scenario.ts'
import { CLIENT_TOKEN, type ClientBench, type ClientCheck, WINDOW } from './stage.ts'

export const readingChecks: readonly ClientCheck[] = [
  {
    name: 'hello',
    level: 'minimal',
    section: 'HELLO',
    rule: 'The client connects, and its first frame is HELLO with 16 random bytes.',
    hint: 'The program must start, and connect to MILLRACE_URL.',
    isEssential: true,
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      const { client } = await seat.greet()
      must(seat.frames[0]?.kind === 'hello', 'HELLO as the first frame', frameWords(seat.frames[0]!))
      same(client.length, 16, 'the number of bytes of client')
      await using again = await bench.start()
      const other = await (await again.seat()).greet()
      must(Buffer.compare(client, other.client) !== 0, 'other bytes in another process', 'the same bytes')
    },
  },
  {
    name: 'run',
    level: 'minimal',
    section: 'DELTA',
    rule: 'The client starts a run and reads its texts, alone and in arrays, to the END.',
    hint: 'It starts the actor "script", prints a line of JSON for each text, and a last one for the end.',
    isEssential: true,
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, start, sid } = run
      same([start.actor, start.input], ['script', { for: 'verify' }], 'actor and input of START')
      seat.send({ kind: 'delta', sid, seq: 1, lane: 0, body: 'a' }, texts(sid, 2, 'b', 'c 🙂'), done(sid, 4))
      await completes(stage, 'abc 🙂')
    },
  },
  {
    name: 'subprotocol',
    level: 'minimal',
    section: 'WebSocket',
    rule: 'The client offers the subprotocol millrace.v1.',
    hint: 'It is a header of the handshake: Sec-WebSocket-Protocol.',
    async run(bench) {
      await using stage = await bench.start()
      const offered = (await stage.seat()).request.headers['sec-websocket-protocol'] ?? ''
      must(offered.split(/, */).includes(SUBPROTOCOL), SUBPROTOCOL, `"${offered}"`)
    },
  },
  {
    name: 'credentials',
    level: 'minimal',
    section: 'Origin and credentials',
    rule: 'Credentials travel in HELLO or in a header, and not in the URL.',
    hint: 'Send MILLRACE_TOKEN as auth of HELLO. A URL is logged by every proxy.',
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      const { auth } = await seat.next('hello')
      const { url = '', headers } = seat.request
      must(!url.includes(CLIENT_TOKEN), 'a URL without the token', url)
      const isThere = auth === CLIENT_TOKEN || headers.authorization?.includes(CLIENT_TOKEN) === true
      must(isThere, 'the token in auth or in the header Authorization', JSON.stringify(auth ?? null))
    },
  },
  {
    name: 'merged-text',
    level: 'minimal',
    section: 'DELTA',
    rule: 'A text with a count stands for so many items, in number and in credit.',
    hint: 'The next item follows behind all of them.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send({ kind: 'delta', sid, seq: 1, lane: 0, body: 'abcdef', count: 6 })
      await seat.until(() => seat.credit >= 3, `CREDIT of at least 3 for 6 items of a window of ${WINDOW}`)
      seat.send(texts(sid, 7, 'g'), done(sid, 8))
      await completes(stage, 'abcdefg')
    },
  },
  {
    name: 'unknown-events',
    level: 'minimal',
    section: 'EVENT',
    rule: 'An event type that the client does not know is passed over, and its number and cost count.',
    hint: 'Types are added by later releases and by applications.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send({ kind: 'event', sid, seq: 1, type: 4_000, data: { a: 1 }, cost: 6 })
      await seat.until(() => seat.credit >= 3, `CREDIT of at least 3 for a cost of 6 of a window of ${WINDOW}`)
      seat.send({ kind: 'event', sid, seq: 2, type: 'acme.chart', data: {}, cost: 1 }, texts(sid, 3, 'a'), done(sid, 4))
      await completes(stage, 'a')
    },
  },
  {
    name: 'lanes',
    level: 'minimal',
    section: 'Lanes',
    rule: 'Lane events do not reach the consumer, and their numbers count.',
    hint: 'Text on a lane that the client does not know is plain text.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send({ kind: 'event', sid, seq: 1, type: EVENT.laneStart, data: { lane: 1, type: 'text' }, cost: 1 })
      seat.send({ kind: 'delta', sid, seq: 2, lane: 1, body: 'a' })
      seat.send({ kind: 'event', sid, seq: 3, type: EVENT.laneEnd, data: { lane: 1 }, cost: 1 })
      seat.send({ kind: 'delta', sid, seq: 4, lane: 9, body: 'b' }, done(sid, 5))
      await completes(stage, 'ab')
    },
  },
  {
    name: 'unknown-parts',
    level: 'minimal',
    section: 'Messages',
    rule: 'Unknown tags from 0x60 to 0x7f, elements, map keys and NOTICE codes are ignored.',
    hint: 'Later versions add to frames in this way.',
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      await seat.greet({ limits: { maxFuture: 7 } as object, features: ['time-travel'] })
      const { sid } = await seat.open()
      seat.sendRaw(bytes('93 60 01 81 a1 61 01 92 7f c0'))
      seat.sendRaw(bytes(`98 40 ${byte(sid)} 01 00 a1 61 c0 c0 91 01`))
      seat.send({ kind: 'notice', code: 'weather', message: 'rain' }, done(sid, 2))
      await completes(stage, 'a')
    },
  },
  {
    name: 'pong',
    level: 'minimal',
    section: 'PING and PONG',
    rule: 'The last PING of a message is answered by a PONG with the same nonce.',
    hint: 'Answer where you read the socket, also while the application reads nothing.',
    async run(bench) {
      await using run = await reading(bench)
      const { seat } = run
      seat.send({ kind: 'ping', nonce: 3 }, { kind: 'ping', nonce: 2 ** 40 })
      await seat.until(() => seat.all('pong').some(({ nonce }) => nonce === 2 ** 40), `PONG with the nonce ${2 ** 40}`)
    },
  },
  {
    name: 'credit',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'The client returns what was consumed, at the latest when that is half of the window, and never more.',
    hint: 'Balance, what is queued and what is owed back are the window, at all times.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid, start } = run
      same(start.options.credit, WINDOW, 'the credit of START, as MILLRACE_CREDIT says')
      let sent = 0
      for (let round = 0; round < 4; round++) {
        const count = WINDOW + seat.credit - sent
        seat.send(texts(sid, sent + 1, ...Array.from({ length: count }, () => 'x')))
        sent += count
        const least = sent - WINDOW / 2 + 1
        await seat.until(() => seat.credit >= least, `CREDIT of ${least} in all, of ${sent} items that were consumed`)
        await seat.quiet()
        must(seat.credit <= sent, `CREDIT of at most ${sent} in all`, `${seat.credit}`)
      }
      seat.send(done(sid, sent + 1))
      await completes(stage, 'x'.repeat(sent))
    },
  },
  {
    name: 'slow-reader',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'An application that does not read gives no credit back.',
    hint: 'Count an item when the application takes it, and not when it arrives.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!hold', 'b', 'c', 'd', 'e', 'f', 'g', 'h'))
      await stage.said('!hold')
      await seat.quiet()
      must(seat.credit <= 2, 'CREDIT of at most 2 for one item that was read', String(seat.credit))
      stage.goOn()
      await stage.said('!holdbcdefgh')
      await seat.until(() => seat.credit >= WINDOW / 2, `CREDIT of at least ${WINDOW / 2} once the items were read`)
    },
  },
  {
    name: 'smaller-window',
    level: 'minimal',
    section: 'Balance and window',
    rule: 'The window is the credit that OPENED accepts, if that is less than what the client asked for.',
    hint: 'Half of the smaller window must come back.',
    async run(bench) {
      await using run = await reading(bench, 4)
      const { seat, sid } = run
      seat.send(texts(sid, 1, 'a', 'b'))
      await seat.until(() => seat.credit >= 2, 'CREDIT of 2, which is half of the accepted window of 4')
    },
  },
  {
    name: 'refusal',
    level: 'minimal',
    section: 'END',
    rule: 'END with seq 0 is a refusal. One that is not retryable ends the stream, and nothing is sent again.',
    hint: 'It comes in place of OPENED.',
    async run(bench) {
      await using stage = await bench.start()
      const seat = await stage.seat()
      await seat.greet()
      const { sid } = await seat.next('start')
      const data = { code: 'not_found', message: 'no such actor', retryable: false }
      seat.send({ kind: 'end', sid, seq: 0, outcome: 'error', data })
      same(
        [(await stage.end()).end, (await stage.end()).code],
        ['error', 'not_found'],
        'the end that the client printed',
      )
      same(seat.all('start').length, 1, 'the number of STARTs')
    },
  },
  {
    name: 'error-end',
    level: 'minimal',
    section: 'Error codes',
    rule: 'A run that fails ends with the code that END has, also one that the client does not know.',
    hint: 'Later releases have other codes.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      const data = { code: 'weather_bad', message: 'rain', retryable: false }
      seat.send(texts(sid, 1, 'a'), { kind: 'end', sid, seq: 2, outcome: 'error', data })
      const { end, code } = await stage.end()
      same([stage.text, end, code], ['a', 'error', 'weather_bad'], 'the text and the end that the client printed')
    },
  },
  {
    name: 'other-streams',
    level: 'minimal',
    section: 'END',
    rule: 'Frames for a stream that is over, or never was, are ignored.',
    hint: 'They may have crossed with what the client sent.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid + 7, 1, 'no'), done(sid + 7, 2), texts(sid, 1, 'a'), done(sid, 2))
      await completes(stage, 'a')
    },
  },
  {
    name: 'close',
    level: 'minimal',
    section: 'Close codes',
    rule: 'A client that is done closes with 1000.',
    hint: 'Close the socket before the program ends.',
    async run(bench) {
      await using run = await reading(bench)
      const { seat, sid } = run
      seat.send(done(sid, 1))
      same(await seat.closed(), 1_000, 'the close code')
    },
  },
  {
    name: 'text-message',
    level: 'minimal',
    section: 'Messages',
    rule: 'A text message and an empty message are malformed: the client closes with 4400 and stays away.',
    hint: 'The server has a bug: to come back would meet it again.',
    run: (bench) => closesFor(bench, ['hello', new Uint8Array()]),
  },
  {
    name: 'structure',
    level: 'minimal',
    section: 'Structure',
    rule: 'A message with a broken structure is malformed, wherever the fault stands.',
    hint: 'Check lengths, keys, types and texts before you build values, also of ignored elements.',
    run: (bench) =>
      closesFor(bench, [
        bytes('92 10'),
        bytes('93 10 01 d4 01 00'),
        bytes('93 10 01 dd ff ff ff ff'),
        bytes('93 10 01 a2 c0 80'),
        bytes('93 10 01 81 01 02'),
      ]),
  },
  {
    name: 'elements',
    level: 'minimal',
    section: 'Frames',
    rule: 'A frame with an unknown critical tag, or with an element of a wrong type or range, is malformed.',
    hint: 'Check every element of every frame by its table, before the first frame of the message is applied.',
    run: (bench) =>
      closesFor(bench, [
        bytes('92 44 01'),
        bytes('95 40 00 01 00 a1 61'),
        bytes('95 40 01 01 00 90'),
        bytes('95 43 01 02 09 80'),
      ]),
  },
  {
    name: 'atomic',
    level: 'minimal',
    section: 'Messages',
    rule: 'When anything in a message is wrong, nothing of it is applied.',
    hint: 'Decode and check all frames of a message before you apply the first one.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.sendRaw(bytes(`95 40 ${byte(sid)} 01 00 a1 61 92 44 01`))
      same(await seat.closed(), 4_400, 'the close code')
      await stage.end()
      same(stage.text, '', 'the text that the client printed')
    },
  },
]

/** Each message, sent to a client of its own, makes it close with 4400, and it does not come back. */
async function closesFor(bench: ClientBench, messages: readonly (Uint8Array | string)[]): Promise<void> {
  await Promise.all(
    messages.map(async (message) => {
      await using run = await reading(bench)
      const { stage, seat } = run
      seat.sendRaw(message)
      const what =
        typeof message === 'string' ? 'a text message' : `the message "${Buffer.from(message).toString('hex')}"`
      const code = await seat.closed()
      must(code === 4_400 || code === 4_413, `a close with 4400 for ${what}`, `a close with ${code}`)
      same((await stage.end()).end, 'error', 'the end that the client printed')
      await stage.staysAway()
    }),
  )
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
}

/** A sid as one byte: a client begins with small ones. */
function byte(sid: number): string {
  must(sid < 128, 'a first sid below 128', String(sid))
  return sid.toString(16).padStart(2, '0')
}
