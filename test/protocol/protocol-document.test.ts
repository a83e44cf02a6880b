import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { CLOSE, closeAction, type ErrorCode, MillraceError } from '../../protocol/errors.ts'
import { EVENT } from '../../protocol/events.ts'
import { FEATURES } from '../../protocol/features.ts'
import { GAP_REASONS, INPUT_STATUSES, ON_DETACH, OUTCOMES, POLICIES, SUBPROTOCOL, TAG } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import { actor } from '../../server/actors/actor.ts'
import { createServer } from '../../server/server.ts'
import { anonymous } from '../../server/sessions/auth.ts'
import { keysOf } from '../helpers/cddl.ts'
import { decoders, encoders, hex, msgpackr, plain, scanLimits } from '../helpers/codec-paths.ts'
import {
  camelCase,
  encodeArray,
  exampleMessages,
  messageBytes,
  PROTOCOL_DOCUMENTS,
  readProtocolDocument,
  sectionUnder,
  tableUnder,
  withoutExamples,
} from '../helpers/protocol-document.ts'
import { schema } from '../helpers/wire-schema.ts'

const documents = PROTOCOL_DOCUMENTS.map((name) => ({ name, text: readProtocolDocument(name) }))
const messages = documents.flatMap(({ name, text }) => exampleMessages(text).map((message) => ({ name, ...message })))
const frames = messages.flatMap((message) => message.frames)
const text = readProtocolDocument('PROTOCOL.md')

/** The rows of a table whose first cell is a number, as `[number, name]`. */
function numbersAndNames(heading: string): (readonly [number, string])[] {
  return tableUnder(text, heading).map(([number, name = '']) => [Number(number), name] as const)
}

describe('the examples of the protocol documents', () => {
  test('show every frame with its bytes', () => {
    const tags = new Set(frames.filter(({ bytes }) => bytes !== undefined).map(({ array }) => array[0]))
    expect([...tags].sort()).toEqual(Object.values(TAG).sort())
  })

  test.each(messages)('show on line $line of $name the bytes of their description', ({ frames }) => {
    for (const { array, bytes } of frames) if (bytes !== undefined) expect(bytes).toBe(hex(encodeArray(array)))
  })

  test.each(messages)(
    'show on line $line of $name a message that both decoders accept, with no unknown part',
    (message) => {
      const { direction, frames } = message
      const whole = messageBytes(message)
      const decoded = decoders[direction].own(whole)
      expect(plain(decoders[direction].scanned(whole))).toEqual(plain(decoded))
      // An ignored element is missing when the frames are encoded again.
      const again = msgpackr.unpackMultiple(encoders[direction](decoded)) as unknown[]
      expect(plain(again)).toEqual(plain(frames.map(({ array }) => array)))
    },
  )

  test.each(documents)('are all the bytes in $name: none stand where no test checks them', ({ text }) => {
    expect(withoutExamples(text).match(/\b[0-9a-f]{2}( [0-9a-f]{2})+\b|\b(?=\d*[a-f])[0-9a-f]{8,}\b/g)).toBeNull()
  })

  test('show a whole session before anything else, without bytes', () => {
    const [session = ''] = text.split('\n## The least a client can be\n')
    const shown = exampleMessages(session).flatMap(({ frames }) => frames)
    const names = Object.keys(TAG).filter((name) =>
      shown.some(({ array }) => array[0] === TAG[name as keyof typeof TAG]),
    )
    expect(names).toEqual(expect.arrayContaining(['hello', 'welcome', 'start', 'opened', 'delta', 'event', 'credit']))
    expect(names).toEqual(expect.arrayContaining(['ping', 'pong', 'attach', 'cancel', 'end']))
    expect(shown.filter(({ bytes }) => bytes !== undefined)).toEqual([])
  })
})

describe('the tables of PROTOCOL.md', () => {
  const isKnown = ([tag]: string[]) => Object.values<unknown>(TAG).includes(Number(tag))

  test('name every tag', () => {
    const rows = tableUnder(text, '### Tags').filter(isKnown)
    const known = Object.entries(TAG)
      .map(([name, tag]) => [tag, name] as const)
      .sort(([a], [b]) => a - b)
    expect(rows.map(([tag, name = '']) => [Number(tag), camelCase(name)])).toEqual(known)
  })

  test.each(tableUnder(text, '### Tags').filter(isKnown))(
    'give the tag %s to %s, whose section repeats it and its direction',
    (tag = '', name = '', direction = '') => {
      const section = sectionUnder(text, name === 'PING' || name === 'PONG' ? '### PING and PONG' : `### ${name}`)
      expect(section).toMatch(new RegExp(`\\[${name}, `))
      expect(section).toMatch(new RegExp(`\\(\`${tag}\`,\\s${direction}`))
    },
  )

  test.each([
    ['### INPUT_ACK', INPUT_STATUSES],
    ['### GAP', GAP_REASONS],
    ['### END', OUTCOMES],
  ])('number under "%s" what travels as a number', (heading, words) => {
    expect(numbersAndNames(heading)).toEqual(words.map((word, index) => [index, word]))
  })

  test('name the policies, the values of onDetach and the reasons of a cancel', () => {
    expect(tableUnder(text, '### Policies').map(([name]) => name)).toEqual(POLICIES)
    expect(tableUnder(text, '### Detached runs').map(([name]) => name)).toEqual(ON_DETACH)
    expect(numbersAndNames('### Cancel reasons').map(([code, name]) => [name, code])).toEqual(
      Object.entries(CANCEL_CODES),
    )
  })

  test('name every feature', () => {
    expect(tableUnder(text, '## Growth').map(([feature]) => feature)).toEqual(FEATURES)
  })

  test('name every type of event', () => {
    const types = numbersAndNames('### Event types').map(([type, name]) => [camelCase(name), type])
    expect(Object.fromEntries(types)).toEqual({ ...EVENT })
  })

  test('name of every type of event the keys that the schema gives it', () => {
    for (const [, name = '', data = ''] of tableUnder(text, '### Event types')) {
      // What a value may be stands in brackets, and what it is for behind a colon.
      const keys = data.replace(/:.*|\{.*?\}|\(.*?\)/g, '').split(/[,;]/)
      const named = keys.map((key) => /^\s*(\w+)/.exec(key)?.[1]).filter((key) => key !== undefined)
      const ofAgent = name.startsWith('agent.') || name === 'lane.end' ? [] : ['agent']
      const rule = name === 'notice' ? 'notice-event' : name
      expect([name, ...named, ...ofAgent].sort()).toEqual([name, ...keysOf(schema, rule)].sort())
    }
  })

  test('say of every error code whether it may be tried again', () => {
    const rows = tableUnder(text, '### Error codes')
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
    const rows = tableUnder(text, '### Close codes')
    for (const [code, , action] of rows) expect([code, action]).toEqual([code, actions[closeAction(Number(code))]])
    expect(rows.map(([code]) => Number(code))).toEqual(expect.arrayContaining(Object.values(CLOSE)))
    expect([closeAction(4499), closeAction(4999), closeAction(1014)]).toEqual(['stop', 'resume', 'resume'])
  })

  test('state every limit with its default', () => {
    const rows = tableUnder(text, '### Limits')
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
    const marked = tableUnder(text, '### Limits').filter(([, , inWelcome]) => inWelcome === 'yes')
    expect(Object.keys(welcome.limits).sort()).toEqual(marked.map(([name]) => name).sort())
  })
})

test.each(documents)(
  'every link within $name leads to one of its headings, and each heading is there once',
  ({ text }) => {
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
  },
)
