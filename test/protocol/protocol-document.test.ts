import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { CLOSE, closeAction, type ErrorCode, MillraceError } from '../../protocol/errors.ts'
import { EVENT } from '../../protocol/events.ts'
import { GAP_REASONS, INPUT_STATUSES, ON_DETACH, OUTCOMES, POLICIES, SUBPROTOCOL, TAG } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import { actor } from '../../server/actors/actor.ts'
import { createServer } from '../../server/server.ts'
import { anonymous } from '../../server/sessions/auth.ts'
import { decoders, encoders, hex, msgpackr, plain, scanLimits } from '../helpers/codec-paths.ts'
import {
  encodeArray,
  exampleMessages,
  messageBytes,
  readProtocolDocument,
  tableUnder,
} from '../helpers/protocol-document.ts'

const text = readProtocolDocument()
const messages = exampleMessages(text)

/** `part.start` as the code names it: `partStart`. */
function camelCase(name: string): string {
  return name.replace(/[._](\w)/g, (_, letter: string) => letter.toUpperCase())
}

/** The rows of a table whose first cell is a number, as `[number, name]`. */
function numbersAndNames(heading: string): (readonly [number, string])[] {
  return tableUnder(text, heading).map(([number, name = '']) => [Number(number), name] as const)
}

describe('the examples of PROTOCOL.md', () => {
  test('are there to be read, of every frame there is', () => {
    const tags = new Set(messages.flatMap(({ frames }) => frames.map(({ array }) => array[0])))
    expect([...tags].sort()).toEqual(Object.values(TAG).sort())
  })

  test.each(messages)('show on line $line the bytes of what they say', ({ frames }) => {
    for (const { array, bytes } of frames) if (bytes !== undefined) expect(bytes).toBe(hex(encodeArray(array)))
  })

  test.each(messages)('show on line $line a message that both decoders accept, all of it known to them', (message) => {
    const { direction, frames } = message
    const whole = messageBytes(message)
    const decoded = decoders[direction].own(whole)
    expect(plain(decoders[direction].scanned(whole))).toEqual(plain(decoded))
    // What a decoder ignores is not there when its frames are encoded again.
    const again = msgpackr.unpackMultiple(encoders[direction](decoded)) as unknown[]
    expect(plain(again)).toEqual(plain(frames.map(({ array }) => array)))
  })

  test('are all the bytes there are: none stands where nobody checks it', () => {
    expect(text.match(/`[0-9a-f]{2}( [0-9a-f]{2})+`/g)).toBeNull()
  })
})

describe('the tables of PROTOCOL.md', () => {
  test('name every tag', () => {
    const rows = tableUnder(text, '## 4. Frames').map(([tag, name = '']) => [
      Number(tag),
      camelCase(name.toLowerCase()),
    ])
    const known = Object.entries(TAG)
      .map(([name, tag]) => [tag, name] as const)
      .sort(([a], [b]) => a - b)
    expect(rows.filter(([tag]) => Object.values<unknown>(TAG).includes(tag))).toEqual(known)
  })

  test.each([
    ['### 4.12 INPUT_ACK', INPUT_STATUSES],
    ['### 4.17 GAP', GAP_REASONS],
    ['### 4.18 END', OUTCOMES],
  ])('number under "%s" what travels as a number', (heading, words) => {
    expect(numbersAndNames(heading)).toEqual(words.map((word, index) => [index, word]))
  })

  test('name the policies, the ways of being detached and the reasons of a cancel', () => {
    expect(tableUnder(text, '### 8.4 Policies').map(([name]) => name)).toEqual(POLICIES)
    expect(tableUnder(text, '### 10.1 Detached').map(([name]) => name)).toEqual(ON_DETACH)
    expect(numbersAndNames('### 9.2 Reasons').map(([code, name]) => [name, code])).toEqual(Object.entries(CANCEL_CODES))
  })

  test('name every kind of event', () => {
    const kinds = numbersAndNames('## 12. Event kinds').map(([kind, name]) => [camelCase(name), kind])
    expect(Object.fromEntries(kinds)).toEqual({ ...EVENT })
  })

  test('say of every error code whether it may be tried again', () => {
    const rows = tableUnder(text, '### 13.2 Error codes')
    for (const [code, retryable] of rows) {
      expect([code, retryable !== 'no']).toEqual([code, new MillraceError(code as ErrorCode, '').retryable])
    }
    const source = readFileSync(new URL('../../protocol/errors.ts', import.meta.url), 'utf8')
    const codes = [...source.matchAll(/^ {2}(?:\| )?'(\w+)',?$/gm)].map(([, code]) => code)
    expect(rows.map(([code]) => code).sort()).toEqual(codes.sort())
  })

  test('say of every close code what a client does', () => {
    const actions = {
      stop: 'stop',
      resume: 'resume',
      resume_once: 'resume once',
      reauthenticate: 'fetch credentials, resume once',
    }
    const rows = tableUnder(text, '## 14. Close codes')
    for (const [code, , action] of rows) expect([code, action]).toEqual([code, actions[closeAction(Number(code))]])
    expect(rows.map(([code]) => Number(code))).toEqual(expect.arrayContaining(Object.values(CLOSE)))
    expect([closeAction(4499), closeAction(4999), closeAction(1014)]).toEqual(['stop', 'resume', 'resume'])
  })

  test('state every limit with its default', () => {
    const rows = tableUnder(text, '## 15. Limits')
    const stated = rows.map(([name, value = '']) => [name, Number(value.replaceAll(',', ''))])
    expect(Object.fromEntries(stated)).toEqual(DEFAULT_LIMITS)
  })

  test('mark the limits that a server states in WELCOME', async () => {
    const idle = actor({ ask: () => 'never asked' })
    await using server = createServer({ actors: { idle }, authenticate: anonymous() })
    const { url } = await server.listen(0)
    const socket = new WebSocket(url, SUBPROTOCOL)
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      socket.on('open', () => socket.send(encodeUp([{ kind: 'hello', client: new Uint8Array(16), attempt: 1 }])))
      socket.on('message', resolve)
      socket.on('error', reject)
    })
    socket.terminate()
    const [welcome] = decodeDown(bytes, scanLimits.down)
    if (welcome?.kind !== 'welcome') throw new Error('the first frame is not WELCOME')
    const marked = tableUnder(text, '## 15. Limits').filter(([, , inWelcome]) => inWelcome === 'yes')
    expect(Object.keys(welcome.limits).sort()).toEqual(marked.map(([name]) => name).sort())
  })
})

test('every link of PROTOCOL.md leads to one of its headings', () => {
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
  const links = [...text.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor)
  expect(links.length).toBeGreaterThan(0)
  expect(links.filter((anchor) => anchor === undefined || !anchors.includes(anchor))).toEqual([])
  expect(new Set(anchors).size).toBe(anchors.length)
})
