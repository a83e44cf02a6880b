import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../client-sdk/node.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { ProtocolFault } from '../../protocol/errors.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { decodeClient } from '../../server/log/payload.ts'
import { bystander } from '../helpers/bystander.ts'
import { scanLimits } from '../helpers/codec-paths.ts'
import { RawSocket } from '../helpers/raw-socket.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { growth, ServerProcess } from '../helpers/server-process.ts'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { messageOf, vectors } from '../helpers/vectors.ts'

const MIB = 1_048_576
const COUNT = repetitions({ quick: 750, full: 50_000, long: 600_000 })
const SEED = firstSeed()
const ATTACKERS = 8
/** Messages that a server accepts are sent on one connection up to so many; then comes one that it refuses. */
const PER_CONNECTION = 40
/** A connection that named a stream by a higher number ends by the next message: few numbers may be left. */
const HIGHEST_SID = 1_000_000
/** Longer ones would be refused for their length alone, again and again. */
const LONGEST_BASE = 2_000
const patient = {
  startsPerSec: 1_000_000,
  startBurst: 1_000_000,
  messagesPerSec: 1_000_000,
  maxConnections: 1_000,
  resumeMs: 500,
  endedMs: 500,
}

/** What the real client says in sessions that use all of it, message by message. */
async function recordedMessages(url: string): Promise<Uint8Array[]> {
  const recorded: Uint8Array[] = []
  class Recorder extends WebSocket {
    override send(data: Uint8Array): void {
      recorded.push(new Uint8Array(data))
      super.send(data)
    }
  }
  const client = createClient(url, { token: 'recorder', WebSocket: Recorder })
  for await (const _ of client.start('count', { to: 600 }, { credit: 64 }));
  const echo = client.start('echo', null)
  const { id } = await echo.opened
  await echo.send('message', { text: 'hello', list: [1, 2, { deep: new Uint8Array(4) }] })
  echo.pause()
  echo.throttle(50)
  echo.resume()
  const view = client.attach('echo', id, { after: 'live', policy: 'latest' })
  await view.opened
  view.detach()
  await echo.cancel({ reason: 'superseded', note: 'enough' })
  const sleep = client.start('sleep', { ms: 60_000 }, { onDetach: 'cancel', detachMs: 100, meta: { a: 1 } })
  await sleep.opened
  await sleep.cancel({ call: 'c1' })
  await sleep.cancel()
  await client.close()
  return recorded
}

/** Damages a message at random: bits, bytes, pieces of it, pieces of another one. */
function mutated(message: Uint8Array, other: Uint8Array, random: () => number): Uint8Array {
  const below = (n: number): number => Math.floor(random() * n)
  const at = below(message.length)
  const to = Math.min(message.length, at + 1 + below(8))
  const join = (...parts: (Uint8Array | number[])[]): Uint8Array =>
    new Uint8Array(Buffer.concat(parts.map((part) => Uint8Array.from(part))))
  switch (below(9)) {
    case 0:
      return join(message.subarray(0, at), [message[at]! ^ (1 << below(8))], message.subarray(at + 1))
    case 1:
      return join(message.subarray(0, at), [below(256)], message.subarray(at + 1))
    case 2:
      return join(message.subarray(0, at), [message[at]! + 1], message.subarray(at + 1))
    case 3:
      return join(message.subarray(0, at), [below(256)], message.subarray(at))
    case 4:
      return join(message.subarray(0, at), message.subarray(to))
    case 5:
      return message.subarray(0, at)
    case 6:
      return join(message.subarray(0, to), message.subarray(at))
    case 7:
      return join(message.subarray(0, at), other.subarray(below(other.length)))
    default:
      return random() < 0.5 ? join(message, other) : join(other, message)
  }
}

/** The frames of a message, or undefined when the server refuses it. */
function framesOf(message: Uint8Array): UpFrame[] | undefined {
  try {
    return decodeClient(message, scanLimits.up).map(({ frame }) => frame)
  } catch (error) {
    if (error instanceof ProtocolFault) return undefined
    throw error
  }
}

/** One side of a conversation, as far as a server holds a client to it. */
class Conversation {
  #lastSid = 0
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  /** Whether there are numbers for new streams. */
  get goesOn(): boolean {
    return this.#lastSid <= HIGHEST_SID
  }

  /** The message as it could be said here: new streams get new numbers, and old ones are spoken to. */
  fit(message: Uint8Array): Uint8Array {
    const frames = framesOf(message)
    if (!frames) return message
    let sid = this.#lastSid
    return encodeUp(
      frames.flatMap((frame): UpFrame[] => {
        if (frame.kind === 'hello') return []
        if (frame.kind === 'start' || frame.kind === 'attach') return [{ ...frame, sid: ++sid }]
        return 'sid' in frame ? [{ ...frame, sid: 1 + Math.floor(this.#random() * (sid + 1)) }] : [frame]
      }),
    )
  }

  /** Whether the server will accept it. What is accepted counts as said. */
  accepts(message: Uint8Array): boolean {
    const frames = framesOf(message)
    if (!frames) return false
    let sid = this.#lastSid
    for (const frame of frames) {
      if (frame.kind === 'hello') return false
      if (frame.kind !== 'start' && frame.kind !== 'attach') continue
      if (frame.sid <= sid) return false
      sid = frame.sid
    }
    this.#lastSid = sid
    return true
  }
}

test(`a server survives ${COUNT} damaged messages, keeps nothing of them, and serves its other clients`, async () => {
  console.log(`server mutation: seed ${SEED}`)
  await using server = await ServerProcess.start(patient)
  const messages = [
    ...vectors.filter(({ direction }) => direction === 'up').map(messageOf),
    ...(await recordedMessages(server.url)),
  ]
    .filter(({ length }) => length > 0 && length <= LONGEST_BASE)
    // A run that is to go on without anybody would be there in the end, and rightly.
    .filter((message) => !Buffer.from(message).includes('continue'))
  await using quiet = await server.client({ auth: 'bob', limits: patient })
  const endings = new Map<unknown, number>()
  let sent = 0
  let connections = 0

  async function attack(random: () => number, most: number): Promise<void> {
    const pick = (): Uint8Array => messages[Math.floor(random() * messages.length)]!
    for (let mine = 0; mine < most; connections++) {
      await using raw = await RawSocket.open(server.url)
      raw.message(encodeUp([{ kind: 'hello', auth: 'mallory', client: randomId(random), attempt: 1 }]))
      const conversation = new Conversation(random)
      let refused: Uint8Array | undefined
      for (let n = 0; n < PER_CONNECTION && mine < most && conversation.goesOn; ) {
        let message = mutated(conversation.fit(pick()), pick(), random)
        while (random() < 0.3 && message.length > 0) message = mutated(message, pick(), random)
        if (message.length === 0 || !conversation.accepts(message)) {
          refused = message
          continue
        }
        raw.message(message)
        n++
        mine++
        sent++
      }
      // Each connection ends by a message that is no message, most of them by a damaged one.
      raw.message(refused ?? new Uint8Array(0))
      mine++
      sent++
      const ending = await raw.end()
      endings.set(ending, (endings.get(ending) ?? 0) + 1)
    }
  }

  await Promise.all(Array.from({ length: ATTACKERS }, (_, n) => attack(seededRandom(SEED + n), 200)))
  const before = await server.quiet(1)
  const watching = await bystander(quiet)
  sent = connections = 0
  endings.clear()
  const share = Math.ceil(COUNT / ATTACKERS)
  await Promise.all(Array.from({ length: ATTACKERS }, (_, n) => attack(seededRandom(SEED + 1_000 + n), share)))
  const { items, rttMaxMs } = await watching.finish()
  const after = await server.quiet(1)
  const codes = [...endings].map(([code, times]) => `${String(code)} x ${times}`).join(', ')
  console.log(
    `server mutation: ${sent} messages on ${connections} connections (${codes}), ${growth(before, after)}, bystander ${items} items, RTT max ${rttMaxMs} ms`,
  )
  expect(after.failures).toEqual([])
  expect([...endings.keys()].filter((code) => code !== 4400 && code !== 4429)).toEqual([])
  expect(sent).toBeGreaterThanOrEqual(COUNT)
  expect(after.fds - before.fds).toBeLessThanOrEqual(0)
  expect(after.rss - before.rss).toBeLessThan(50 * MIB)
  expect(after.heap - before.heap).toBeLessThan(5 * MIB)
})

function randomId(random: () => number): Uint8Array {
  return Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256))
}
