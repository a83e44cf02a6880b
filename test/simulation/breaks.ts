import { decodeDown, decodeUp } from '../../protocol/decode.ts'
import { encodeDown, encodeUp } from '../../protocol/encode.ts'
import type { DownFrame, UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { Audience } from '../../server/audience.ts'
import { Cursor } from '../../server/cursor.ts'
import { Inputs } from '../../server/inputs.ts'
import { Registry } from '../../server/registry.ts'
import { Run } from '../../server/run.ts'
import type { Session } from '../../server/session.ts'
import type { Tamper } from './network.ts'

const SCAN = { maxBytes: 1e7, maxDepth: DEFAULT_LIMITS.maxDepth, maxValues: 1e6 }

/** A rule that is broken on purpose: in the code while `patch`ed, or in what travels. */
export type Break = { readonly patch?: () => () => void; readonly tamper?: () => Tamper }

/** Alters what a server says, frame by frame. */
function down(alter: (frame: DownFrame) => DownFrame[]): () => Tamper {
  return () => ({ down: (message) => encodeDown(decodeDown(message, SCAN).flatMap(alter)) })
}

/** Alters what a client says, frame by frame; undefined frames are dropped. */
function up(alter: (frame: UpFrame) => UpFrame[]): () => Tamper {
  return () => ({
    up: (message) => {
      const frames = decodeUp(message, SCAN).flatMap(alter)
      return frames.length > 0 ? encodeUp(frames) : undefined
    },
  })
}

/** Replaces a method until it is put back. */
function method<Class extends object, Name extends keyof Class>(
  on: Class,
  name: Name,
  replace: (original: Class[Name]) => Class[Name],
): () => () => void {
  return () => {
    const original = Object.getOwnPropertyDescriptor(on, name)
    if (!original) throw new Error(`no method ${String(name)} to break`)
    Object.defineProperty(on, name, { ...original, value: replace(original.value as Class[Name]) })
    return () => Object.defineProperty(on, name, original)
  }
}

/** The rules, each as the sentence that no longer holds. */
export const BREAKS: { readonly [sentence: string]: Break } = {
  'the gate holds the actor back': { patch: method(Audience.prototype, 'room', () => () => 1) },
  'the gate opens when credit comes': { patch: method(Run.prototype, 'reconsider', () => () => {}) },
  'an item costs credit': {
    patch: method(
      Cursor.prototype,
      'sent',
      (original) =>
        function (this: Cursor, seq) {
          original.call(this, seq, 0)
        },
    ),
  },
  'a key names one execution': {
    patch: method(
      Registry.prototype,
      'start',
      (original) =>
        function (this: Registry, principal, start, bytes) {
          const { key: _, ...options } = start.options
          return original.call(this, principal, { ...start, options }, bytes)
        },
    ),
  },
  'a HELLO of an earlier attempt changes nothing': {
    patch: method(
      Registry.prototype,
      'hello',
      (original) =>
        function (this: Registry, principal, hello, carrier) {
          return original.call(this, principal, { ...hello, attempt: ++lateAttempt }, carrier)
        },
    ),
  },
  'losing the connection cancels nothing': {
    patch: method(
      Registry.prototype,
      'lost',
      (original) =>
        function (this: Registry, session: Session, carrier) {
          for (const run of session.runs) run.cancel({ by: 'server', code: 5 })
          original.call(this, session, carrier)
        },
    ),
  },
  'a cancel stops the run': { patch: method(Run.prototype, 'cancel', () => () => {}) },
  'a stranger sees no run': {
    patch: method(
      Registry.prototype,
      'find',
      (original) =>
        function (this: Registry, principal, id) {
          return original.call(this, { ...principal, rights: ['observe'] }, id)
        },
    ),
  },
  'an input is applied once': {
    patch: method(
      Inputs.prototype,
      'take',
      (original) =>
        function (this: Inputs, _mid, input, bytes) {
          return original.call(this, `m${++madeUp}`, input, bytes)
        },
    ),
  },
  'a gap is told': { tamper: down((frame) => (frame.kind === 'gap' ? [] : [frame])) },
  'credit arrives': { tamper: up((frame) => (frame.kind === 'credit' ? [] : [frame])) },
  'a view resumes behind the last item that came': {
    tamper: up((frame) => (frame.kind === 'attach' && frame.after ? [{ ...frame, after: frame.after + 1 }] : [frame])),
  },
  'an item arrives as it was said': {
    tamper: down((frame) =>
      frame.kind === 'event' && typeof frame.data['value'] === 'string'
        ? [{ ...frame, data: { ...frame.data, value: 'a1w1.0' } }]
        : [frame],
    ),
  },
  'the end comes behind the last item': {
    tamper: down((frame) => (frame.kind === 'end' && frame.seq > 2 ? [{ ...frame, seq: frame.seq + 1 }] : [frame])),
  },
  'everybody is told the same end': {
    tamper: down((frame) =>
      frame.kind === 'end' && frame.seq > 0 && frame.sid % 2 === 0 && frame.outcome === 'cancelled'
        ? [{ ...frame, outcome: 'done', data: { ms: 1 } }]
        : [frame],
    ),
  },
}

let lateAttempt = 1_000_000
let madeUp = 0
