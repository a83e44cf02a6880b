import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { must } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerBench, ServerCheck } from './bench.ts'

const { maxDepth, maxValues, maxMessage } = REFERENCE_LIMITS
const MALFORMED = [4400]

/** Messages by what is wrong with them. */
type Malformed = readonly (readonly [what: string, message: Uint8Array | string])[]

/** A PING with an element behind its nonce, which a receiver ignores but checks. */
function pingWith(element: string): Uint8Array {
  return bytes(`93 10 01 ${element}`)
}

/** Arrays that nest `levels` deep. */
function nested(levels: number): string {
  return `${'91'.repeat(levels - 1)}90`
}

/** An array of `n` zeros. */
function zeros(n: number): string {
  return `dc${n.toString(16).padStart(4, '0')}${'00'.repeat(n)}`
}

const structure: Malformed = [
  ['the byte 0xc1', bytes('c1')],
  ['an extension type', pingWith('d4 01 00')],
  ['a message that ends within a value', bytes('92 10')],
  ['a number in place of a frame', bytes('01')],
  ['a map in place of a frame', bytes('80')],
  ['an array without a tag', bytes('90')],
  ['a map key that is a number', pingWith('81 01 02')],
  ['the map key __proto__', pingWith(`81 a9 ${hexOf('__proto__')} 01`)],
  ['an overlong form in a text', pingWith('a2 c0 80')],
  ['half of a surrogate pair in a text', pingWith('a3 ed a0 80')],
  ['a text beyond U+10FFFF', pingWith('a4 f4 90 80 80')],
  ['the integer 2^53', pingWith('cf 00 20 00 00 00 00 00 00')],
  ['an array that is longer than the message', pingWith('dd ff ff ff ff')],
  ['a text that is longer than the message', pingWith('db ff ff ff ff')],
  ['an array nested too deeply', pingWith(nested(maxDepth))],
  ['too many values', pingWith(zeros(maxValues - 3))],
]

const elements: Malformed = [
  ['a START without an input', bytes(`93 02 01 a3 ${hexOf('say')}`)],
  ['a START with sid 0', encodeUp([{ kind: 'start', sid: 0, actor: 'say', input: null, options: {} }])],
  ['a CREDIT of 0', encodeUp([{ kind: 'credit', sid: 1, n: 0 }])],
  ['a CREDIT of 1.5', bytes('93 04 01 cb 3f f8 00 00 00 00 00 00')],
  ['an unknown policy', encodeUp([start({ policy: 'fast' as never })])],
  ['an unknown onDetach', encodeUp([start({ onDetach: 'wait' as never })])],
  ['a key of 65 bytes', encodeUp([start({ key: 'k'.repeat(65) })])],
  ['a meta of more than 1,024 bytes', encodeUp([start({ meta: { text: 'x'.repeat(1_024) } })])],
  ['a note of 257 bytes', encodeUp([{ kind: 'cancel', sid: 1, code: 1, note: 'n'.repeat(257) }])],
  ['an unknown type of target', bytes(`95 05 01 c0 c0 92 a3 ${hexOf('cat')} a2 ${hexOf('c1')}`)],
  ['a mid of 33 bytes', encodeUp([{ kind: 'input', sid: 1, mid: 'm'.repeat(33), type: 'message', data: 1 }])],
  ['a negative rate', bytes('93 08 01 ff')],
  ['a DELTA of a client', bytes('95 40 01 01 00 a1 78')],
]

function start(options: object): UpFrame {
  return { kind: 'start', sid: 1, actor: 'say', input: { texts: [] }, options }
}

export const messageChecks: readonly ServerCheck[] = [
  {
    name: 'text-message',
    level: 'minimal',
    section: 'Messages',
    rule: 'A text message and an empty message are malformed.',
    hint: 'Look at the opcode of the message before its bytes.',
    run: (bench) =>
      refusesEach(bench, [
        ['a text message', 'hello'],
        ['an empty message', new Uint8Array()],
      ]),
  },
  {
    name: 'structure',
    level: 'minimal',
    section: 'Structure',
    rule: 'A message with a broken structure is malformed, wherever the fault stands.',
    hint: 'Check structure before you build values: depth, values, lengths, keys and texts, also of ignored elements.',
    run: (bench) => refusesEach(bench, structure),
  },
  {
    name: 'structure-limits',
    level: 'minimal',
    section: 'Structure',
    rule: 'A frame may use maxDepth levels and maxValues values.',
    hint: 'The frame is the first level and the first value; each element, map key and map value counts one.',
    async run(bench) {
      await using peer = await bench.connect()
      for (const element of [nested(maxDepth - 1), zeros(maxValues - 4)]) {
        peer.sendRaw(pingWith(element))
        await peer.next('pong')
      }
    },
  },
  {
    name: 'elements',
    level: 'minimal',
    section: 'Frames',
    rule: 'A frame with an element of a wrong type, size or range is malformed, as is one from the wrong side.',
    hint: 'Check every element of every frame by its table, before the first frame of the message is applied.',
    async run(bench) {
      await refusesEach(bench, elements)
      await using peer = await bench.connect({ client: new Uint8Array(15), hello: 'unanswered' })
      await peer.closesWith(MALFORMED, 'for a HELLO whose client has 15 bytes')
    },
  },
  {
    name: 'critical-tags',
    level: 'minimal',
    section: 'Messages',
    rule: 'An unknown tag below 0x60, and any tag above 0x7f, is malformed.',
    hint: 'Only tags from 0x60 to 0x7f may be skipped.',
    run: (bench) =>
      refusesEach(bench, [
        ['the tag 0x0a', bytes('92 0a 01')],
        ['the tag 0x5f', bytes('92 5f 01')],
        ['the tag 0x80', bytes('92 cc 80 01')],
      ]),
  },
  {
    name: 'skipped-tags',
    level: 'minimal',
    section: 'Messages',
    rule: 'Frames of unknown tags from 0x60 to 0x7f are skipped, also before HELLO.',
    hint: 'Check their structure, and go on behind them.',
    async run(bench) {
      await using peer = await bench.connect({ hello: false })
      peer.sendRaw(bytes('92 60 01 91 7f'))
      peer.send({ kind: 'hello', client: peer.client, attempt: 1, auth: bench.token })
      await peer.next('welcome')
      peer.sendRaw(bytes('93 6a 01 82 a1 61 01 a1 62 02 92 10 05'))
      await peer.until(
        () => peer.frames.some((frame) => frame.kind === 'pong' && frame.nonce === 5),
        'PONG behind a skipped frame',
      )
    },
  },
  {
    name: 'unknown-parts',
    level: 'minimal',
    section: 'Conventions',
    rule: 'Elements behind the last one named, and map keys not named, are ignored.',
    hint: 'Later versions add to frames in this way.',
    async run(bench) {
      await using peer = await bench.connect()
      const options = '82 a6 637265646974 05 a6 667574757265 92 01 02'
      peer.sendRaw(bytes(`97 02 01 a3 ${hexOf('say')} 81 a5 ${hexOf('texts')} 91 a2 ${hexOf('hi')} ${options} 01 c0`))
      const { credit } = await peer.opened(1)
      must(credit === 5, 'credit 5, as the START says beside an unknown option', String(credit))
      await peer.next('end', 1)
    },
  },
  {
    name: 'formats',
    level: 'minimal',
    section: 'Encoding',
    rule: 'A receiver accepts every MessagePack format of a value.',
    hint: 'An integer may come as any integer format or as an integral float; a text, array or map under any header.',
    async run(bench) {
      await using peer = await bench.connect()
      const actor = `db 00 00 00 03 ${hexOf('say')}`
      const input = `df 00 00 00 01 d9 05 ${hexOf('texts')} dd 00 00 00 01 da 00 02 ${hexOf('hi')}`
      const credit = `de 00 01 d9 06 ${hexOf('credit')} ca 40 a0 00 00`
      peer.sendRaw(bytes(`dc 00 05 d1 00 02 cb 3f f0 00 00 00 00 00 00 ${actor} ${input} ${credit}`))
      const opened = await peer.opened(1)
      must(opened.credit === 5, 'credit 5, which the START gives as a float', String(opened.credit))
      await peer.next('end', 1)
      must(peer.text(1) === 'hi', 'the text "hi"', JSON.stringify(peer.text(1)))
    },
  },
  {
    name: 'atomic',
    level: 'minimal',
    section: 'Messages',
    rule: 'When anything in a message is wrong, nothing of it is applied.',
    hint: 'Decode and check all frames of a message before you apply the first one.',
    async run(bench) {
      const key = `atomic-${Math.random()}`
      const begin: UpFrame = { kind: 'start', sid: 1, actor: 'silent', input: null, options: { key } }
      await using broken = await bench.connect()
      broken.sendRaw(new Uint8Array([...encodeUp([begin]), 0x92, 0x0a, 0x01]))
      await broken.closesWith(MALFORMED, 'for a message whose second frame is malformed')
      must(broken.count(1) === 0 && !broken.frames.some(({ kind }) => kind === 'opened'), 'no OPENED', 'OPENED')
      await using peer = await bench.connect()
      peer.send(begin)
      const { reused } = await peer.opened(1)
      must(reused !== true, 'a new run for the key', 'a run that the malformed message had begun')
      peer.send({ kind: 'cancel', sid: 1 })
      await peer.next('end', 1)
    },
  },
  {
    name: 'message-size',
    level: 'minimal',
    section: 'Messages',
    rule: 'A message larger than maxMessage is refused with 4413 or 4400.',
    hint: 'A WebSocket library that finds it first may close with 1009, or cut the connection.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.send({ kind: 'start', sid: 1, actor: 'say', input: { texts: ['x'.repeat(maxMessage)] }, options: {} })
      await peer.closesWith([4413, 4400, 1009, 1006], 'for a message that is too large')
      must(!peer.frames.some(({ kind }) => kind === 'opened'), 'no OPENED', 'OPENED')
    },
  },
]

/** Each message, on a connection of its own, is refused. */
async function refusesEach(bench: ServerBench, messages: Malformed): Promise<void> {
  for (const [what, message] of messages) {
    await using peer = await bench.connect()
    peer.sendRaw(message)
    await peer.closesWith(MALFORMED, `for ${what}`)
  }
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
}

function hexOf(text: string): string {
  return Buffer.from(text).toString('hex')
}
