// The client of examples/verify-client.mjs behind a socket that breaks the rule which MILLRACE_BREAK names.
import { randomBytes } from 'node:crypto'
import { NodeWebSocket } from 'millrace/client'
import { decodeDown, decodeUp, encodeDown, encodeUp } from 'millrace/protocol'
import { judged } from '../../examples/verify-client.mjs'

const limits = { maxBytes: 262_144, maxDepth: 16, maxValues: 16_384 }
const name = process.env.MILLRACE_BREAK
/** How many sockets there were. */
let sockets = 0
/** No code closes a socket with this one by itself. */
const STOP = 4400

/** What each break does: `up` and `down` give the frames in place of one, `raw` the message in place of one of the server. */
const BREAKS = {
  hello: { up: (frame) => (frame.kind === 'hello' ? [{ ...frame, client: new Uint8Array(16) }] : [frame]) },
  credentials: { url: (url) => `${url}?token=${process.env.MILLRACE_TOKEN}` },
  subprotocol: { subprotocol: 'millrace.v0' },
  pong: { up: (frame) => (frame.kind === 'pong' ? [] : [frame]) },
  'merged-text': { down: (frame) => [frame.kind === 'delta' && frame.count ? { ...frame, count: undefined } : frame] },
  'unknown-events': { raw: (message) => (message[4] === 0xcd ? STOP : message) },
  'unknown-parts': { raw: (message) => (message[1] >= 0x60 && message[1] < 0x80 ? STOP : message) },
  credit: { up: (frame) => [frame.kind === 'credit' ? { ...frame, n: frame.n + 1 } : frame] },
  'text-message': { raw: (message) => (message.length === 0 ? undefined : message) },
  elements: { raw: (message) => (message[1] === 0x44 ? undefined : message) },
  atomic: { raw: (message, deliver) => (isHalfBroken(message) ? deliver(message.subarray(0, -3)) : message) },
  close: { close: (code) => (code === undefined || code === 1000 ? 3000 : code) },
  cancel: { up: (frame) => [frame.kind === 'cancel' && !frame.target ? { ...frame, code: undefined } : frame] },
  'cancel-after-loss': { up: (frame, nth) => (frame.kind === 'cancel' && !frame.target && nth > 1 ? [] : [frame]) },
  'cancel-call-again': { up: (frame, nth) => (frame.kind === 'cancel' && frame.target && nth > 1 ? [] : [frame]) },
  resume: { up: (frame) => [frame.kind === 'hello' ? { ...frame, attempt: 1 } : frame] },
  'start-again': { up: (frame) => [frame.kind === 'start' ? withOption(frame, { key: randomBytes(16) }) : frame] },
  gen: { up: (frame) => [frame.kind === 'attach' ? withOption(frame, { gen: 1 }) : frame] },
  gap: { down: (frame) => (frame.kind === 'gap' && frame.reason === 'retention' ? [] : [frame]) },
  goaway: { raw: (message) => (message[0] === 0x93 && message[1] === 0x24 ? STOP : message) },
  // It takes the end of the connection for a cut, and is back at once, also where its first tries fail.
  'retry-after': {
    down: (frame) => (frame.kind === 'goaway' ? [] : [frame]),
    closed: (code) => (code === 4503 ? 1006 : code),
    delays: { quickMs: 50, backoffMs: 50, maxBackoffMs: 50 },
  },
  'rate-limited': { down: (frame) => [isLimited(frame) ? withDetails(frame, { afterMs: 1 }) : frame] },
  'close-codes': { closed: (code) => (code === 4999 ? STOP : code) },
  'stop-codes': { closed: (code) => (code === 4499 ? 1006 : code) },
  'input-again': { up: (frame, nth) => [frame.kind === 'input' && nth > 1 ? { ...frame, mid: 'another' } : frame] },
}

const { url: urlOf, subprotocol, up, down, raw, close, closed, delays } = BREAKS[name]

class BrokenWebSocket extends NodeWebSocket {
  #nth = ++sockets

  constructor(url, protocol) {
    super(urlOf?.(url) ?? url, subprotocol ?? protocol)
  }

  send(message) {
    if (!up) return super.send(message)
    const frames = decodeUp(message, limits).flatMap((frame) => up(frame, this.#nth))
    if (frames.length > 0) super.send(encodeUp(frames))
  }

  close(code) {
    super.close(close ? close(code) : code)
  }

  set onmessage(handle) {
    let isStopped = false
    const deliver = (data) => handle({ data })
    super.onmessage = ({ data }) => {
      const message = raw ? raw(data, deliver) : data
      if (message === STOP) isStopped = true
      if (isStopped) this.close(STOP)
      const passed = down && message?.length > 0 ? altered(message) : message
      if (!isStopped && passed !== undefined) deliver(passed)
    }
  }

  set onclose(handle) {
    super.onclose = (event) => handle({ code: closed?.(event.code) ?? event.code, reason: '' })
  }
}

function isLimited(frame) {
  return frame.kind === 'end' && frame.data.code === 'rate_limited'
}

function withDetails(end, details) {
  return { ...end, data: { ...end.data, details } }
}

function altered(message) {
  try {
    const frames = decodeDown(message, limits).flatMap(down)
    return frames.length > 0 ? encodeDown(frames) : undefined
  } catch {
    return message
  }
}

/** Whether a message has a good frame before a broken one. */
function isHalfBroken(message) {
  return message[1] === 0x40 && message.at(-2) === 0x44
}

function withOption(frame, option) {
  return { ...frame, options: { ...frame.options, ...option } }
}

await judged({ WebSocket: BrokenWebSocket, delays })
