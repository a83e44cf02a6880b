import { CreditWindow } from '../protocol/credit.ts'
import { type ErrorCode, type ErrorShape, MillraceError } from '../protocol/errors.ts'
import * as EVENT from '../protocol/event-type.ts'
import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import {
  type Attach,
  type Cancel,
  type Input,
  type InputStatus,
  OUTCOMES,
  type Rate,
  type Start,
} from '../protocol/frames.ts'
import { type RunUsage, readReceipt } from '../protocol/receipt.ts'
import type { Timer } from '../protocol/runtime.ts'
import * as TAG from '../protocol/tag.ts'
import { backoff } from './backoff.ts'
import type { CancelResult } from './cancel.ts'
import type { Connection } from './connection.ts'
import { Inbox } from './inbox.ts'
import { MAX_QUEUED, MAX_TARGET_ID } from './own-limits.ts'
import { prepare } from './prepare.ts'
import { Questions, type StreamFrame } from './questions.ts'
import type { ConnectedStream } from './socket.ts'

/** The end of the run, or the error because of which this stream does not know it. */
export type StreamEnd = RunEnd | MillraceError

/** The user of a stream. */
export type StreamListener = {
  /** The server has opened the stream, for the first time or again. */
  opened(run: { id: string; gen: number }): void
  /** `take` may have something new. */
  arrived(): void
  /** The stream is closed. Called once; items that wait come before this end. */
  closed(ending: StreamEnd): void
}

/** A place in a run's log. An application may store it and attach behind it later. */
export type Position = {
  /** The id of the run. */
  run: string
  /** The life of the run that the number belongs to. */
  gen: number
  /** The number of the item. */
  seq: number
}

/** The run has the input: it is new, or it was accepted before (`duplicate`). */
export type InputTaken = Extract<InputStatus, 'accepted' | 'duplicate'>

/** What became of an input: the turn of the agent that answers it, or how the run ended before it was taken. */
export type Delivery = { n: number | undefined } | { lost: RunEnd['outcome'] | 'unknown' }

/** The answer to an input, and later what becomes of it. */
export type SentInput = Promise<InputTaken> & {
  /**
   * Resolves when the actor takes the input, with the turn of the agent (`n`) that is the first to answer it; or with
   * `lost`, when the run has ended without that. `unknown`: this client does not learn it, because it has not come to the
   * end of the run, or because items are missing that may have reported it: in a gap, or behind its own cancel. It never
   * rejects.
   */
  readonly delivery: Promise<Delivery>
}

const INPUT_ERRORS: { readonly [status in InputStatus]?: ErrorCode } = {
  unwanted: 'not_found',
  invalid: 'invalid_input',
  busy: 'overloaded',
}

export type CancelFrame = Omit<Cancel, 'sid'>

/** START or ATTACH. Each lacks fields of the other. */
type Request = { run?: string; after?: number | null; options: Start['options'] & Attach['options'] }

/**
 * One run or view as the protocol's state table describes it: each frame, and each wish of the application, has a
 * function here. A stream outlives the connections it is opened on.
 */
export interface Stream extends ConnectedStream {
  /** The run's id, once it is known. */
  run: string | undefined
  /** The position of the last item that was read. Undefined until the stream is opened. */
  position(): Position | undefined
  /** Removes the next item for the reader and returns its credit. Undefined while none waits. */
  take(): StreamEvent | undefined
  /** Stops the run. Its end closes this stream. */
  cancel(frame: CancelFrame): void
  /** Stops the target of `frame`, one tool call or sub-agent. Never rejects. */
  cancelTarget(frame: CancelFrame): Promise<CancelResult>
  /** Sends an input to the run. Rejects with the reason when the run does not take it. */
  input(type: string, data: unknown): SentInput
  /**
   * Sets the rate in items a second. 0 pauses, null lifts it.
   * @throws MillraceError `bad_request` for anything but null and integers of at least 0.
   */
  setRate(perSec: number | null): void
  /** Closes the stream with `reason`; the run goes on. Does nothing once the run is being cancelled. */
  detach(reason: MillraceError): void
}

export function createStream(connection: Connection, request: Start | Attach, listener: StreamListener): Stream {
  const { runtime, connectMs } = connection
  const { run, after = 0, options } = request as Request
  const {
    credit: asked = connection.limits.initialCredit,
    policy,
    rate,
    ts,
    gen,
    key = runtime.randomBytes(16),
  } = options
  // A window of 0 would never be read, and never grow.
  const credit = asked || 1
  const window = new CreditWindow(credit)
  const inbox = new Inbox(window, runtime, after, gen)
  let state: 'lost' | 'opening' | 'open' | 'cancelling' | 'closed' = 'lost'
  const questions = new Questions()
  /** The inputs that the actor has not taken. */
  const untaken = new Questions()
  /** START and ATTACH state this each time. `credit` is the credit last asked for. */
  const reading = { policy, rate, ts, credit, gen }
  let wasOpened = false
  let firstSentAt: number | undefined
  /** A START was lost without an answer, so the run may have begun. */
  let mayHaveBegun = false
  /** CANCEL of the run, once the application has asked for it. */
  let wish: StreamFrame | undefined
  let ended: StreamEnd | undefined
  let hadFault = false
  /** Items are missing, and perhaps the reports of inputs. */
  let misses = false
  /** Refusals in a row, the last one, and the timer of the try after it. */
  let refusals = 0
  let refusal: MillraceError | undefined
  let retry: Timer | undefined
  /** Closes the stream if it stays lost. */
  let deadline: Timer | undefined

  const isUp = (): boolean => state === 'opening' || state === 'open'

  const send = (frame: StreamFrame): void => {
    const feature = featureOf(frame)
    // WELCOME says what the server can do: `opened` sends it then.
    if (feature && state !== 'open') return
    if (feature && !connection.features.includes(feature))
      questions
        .take((frame as Input).mid)!
        .reject(new MillraceError('unsupported', 'the server is older than this call'))
    else connection.send({ ...frame, sid: stream.sid })
  }

  const giveCredit = (): void => {
    const n = isUp() && window.due()
    if (n) send({ kind: 'credit', n })
  }

  const arrived = (): void => {
    giveCredit()
    listener.arrived()
  }

  const stopWaiting = (): void => {
    deadline?.clear()
    deadline = undefined
  }

  /** Closes the stream if it is lost when the time is over. If a try is under way then, it gets the same time again. */
  const wait = (): void => {
    deadline ??= runtime.setTimer(wasOpened && !wish ? connection.limits.resumeMs : connectMs, () => {
      deadline = undefined
      stream.giveUp(connection.status() === 'open' ? refusal : undefined)
      if (state !== 'closed') wait()
    })
  }

  /** No connection carries the stream now. */
  const rest = (): void => {
    retry?.clear()
    stream.sid = 0
    state = 'lost'
    wait()
  }

  /** Opens the stream with the next message, without a further wait. */
  const tryAgain = (): void => {
    retry?.clear()
    stream.sid = 0
    connection.add(stream)
  }

  const rejectQuestions = (): void => {
    if (questions.size > 0) questions.reject(new MillraceError('connection_lost', 'the run ended first'))
  }

  const close = (ending: StreamEnd): void => {
    state = 'closed'
    ended = ending
    stopWaiting()
    retry?.clear()
    connection.remove(stream)
    rejectQuestions()
    const { outcome, seq } = ending as RunEnd
    const lost = !misses && seq === inbox.last! + 1 && connection.features.includes('steer') ? outcome : 'unknown'
    for (const { resolve } of untaken.values()) resolve({ lost })
    listener.closed(ending)
  }

  const ask = (name: unknown, frame: StreamFrame): Promise<unknown> => {
    const answer = questions.ask(name, frame)
    if (isUp()) send(frame)
    if (state === 'closed') rejectQuestions()
    return answer
  }

  /** Repeats the cancels of targets, because their answers may be among missing items. */
  const repeatCancels = (): void => {
    for (const { frame } of questions.values()) if (frame.kind === 'cancel') send(frame)
  }

  /** A frame does not follow from the frames before. A new connection may help, once. */
  const fault = (): void => {
    if (hadFault) stream.detach(new MillraceError('internal', 'the server broke the protocol twice'))
    else connection.resume()
    hadFault = true
  }

  const stream: Stream = {
    sid: 0,
    run,

    position() {
      const { genRead: gen, lastRead } = inbox
      return gen === undefined ? undefined : { run: stream.run!, gen, seq: lastRead! }
    },

    open(sid): void {
      const now = runtime.now()
      const { run } = stream
      firstSentAt ??= now
      stream.sid = sid
      // The server may have forgotten the key by then, and the same START would begin a second run.
      if (run === undefined && now - firstSentAt > connection.limits.endedMs / 2) return close(connection.error())
      state = wish ? 'cancelling' : 'opening'
      reading.credit = window.reopen()
      reading.gen = inbox.gen
      if (run === undefined) send({ ...(request as Start), options: { ...options, ...reading, key } })
      else send({ kind: 'attach', run, after: inbox.last, options: reading })
      for (const { frame } of questions.values()) send(frame)
      if (wish) send(wish)
    },

    lost() {
      mayHaveBegun ||= state === 'opening' && stream.run === undefined
      rest()
    },

    crowded(n) {
      refusal ??= tooManyStreams()
      if (!wasOpened && (request.kind === 'attach' || n > MAX_QUEUED)) close(refusal)
    },

    giveUp(reason) {
      if (state === 'lost') close(reason ?? connection.error())
    },

    refused(frame, reason): void {
      if (frame.kind === 'input') questions.take(frame.mid)?.reject(reason)
      else close(reason)
    },

    opened(frame): void {
      const { run, gen, credit } = frame
      // After a loss, ATTACH finds the run for as long as it is kept. START finds it only while its key is.
      if (state === 'cancelling') stream.run = run
      if (state !== 'opening') return
      if ((stream.run ?? run) !== run) return fault()
      state = 'open'
      stopWaiting()
      refusals = 0
      window.shrink(Math.max(0, reading.credit - credit))
      stream.run = run
      inbox.opened(frame, !wasOpened)
      wasOpened = true
      for (const { frame } of questions.values()) if (featureOf(frame)) send(frame)
      listener.opened({ id: run, gen })
      arrived()
    },

    delta(frame): void {
      if (state !== 'open') return
      if (!inbox.text(frame)) return fault()
      arrived()
    },

    event(frame): void {
      if (state !== 'open') return
      if (!inbox.event(frame)) return fault()
      const { type, data } = frame
      // The end of a tool call or sub-agent answers its cancel.
      const target = type === EVENT.toolResult ? 'call' : type === EVENT.agentEnd ? 'agent' : ''
      const outcome = OUTCOMES[data['outcome'] as number]
      if (type === EVENT.notice) untaken.take(data['input'])?.resolve({ n: data['n'] })
      questions.take([target, data[target]])?.resolve({
        ...(data['receipt'] ? readReceipt(data['receipt']) : {}),
        outcome,
        confirmed: true,
      })
      // The targets of an agent that ended may never be mentioned again.
      if (type === EVENT.agentEnd) repeatCancels()
      arrived()
    },

    gap(frame) {
      if (state !== 'open') return
      if (frame.next > inbox.last! + 1) {
        misses = true
        repeatCancels()
      }
      inbox.gap(frame)
      arrived()
    },

    input_ack({ mid, status, note = `the input is ${status}` }) {
      const code = INPUT_ERRORS[status]
      const question = questions.take(mid)
      if (code) question?.reject(new MillraceError(code, note))
      else question?.resolve(status)
    },

    notice({ code, message, ref }) {
      const error = new MillraceError(code as ErrorCode, message)
      questions.take(ref?.detail)?.reject(error)
      if (state === 'cancelling' && code === 'forbidden' && ref?.tag === TAG.cancel && !ref.detail) {
        send({ kind: 'detach' })
        close(error)
      }
    },

    end({ seq, outcome, data }): void {
      const { code, retryable, details } = data as ErrorShape
      // A limit begins nothing and takes no key: the run waits for its turn.
      const isLimit = code === 'rate_limited' || (code === 'too_many_streams' && request.kind === 'start')
      if (seq === 0 && retryable && (isLimit || wasOpened || wish || mayHaveBegun)) {
        refusal = MillraceError.fromShape(data as ErrorShape)
        rest()
        const waitMs = backoff(connection, refusals++)
        if (isLimit) {
          if (!mayHaveBegun) firstSentAt = undefined
          const { afterMs = 0 } = Object(details) as { afterMs?: number }
          connection.hold(afterMs * refusals || waitMs, afterMs)
        } else {
          stream.sid = -1
          retry = runtime.setTimer(waitMs, tryAgain)
        }
        return
      }
      // Items are missing before this end, or OPENED is. Without them the text would seem complete.
      if (isUp() && seq > 0 && (state === 'opening' || seq !== inbox.last! + 1)) return fault()
      if (outcome === 'unsubscribed') return close(MillraceError.fromShape(data as ErrorShape))
      const facts = outcome === 'done' ? data : outcome === 'error' ? { error: data } : { receipt: readReceipt(data) }
      const { usage } = data as { usage?: RunUsage }
      close({ outcome, seq, ...(usage && { usage }), ...facts })
    },

    take() {
      const event = inbox.take()
      giveCredit()
      return event
    },

    cancel(frame) {
      if (state === 'closed' || wish) return
      wish = frame
      stopWaiting()
      refusals = 0
      if (isUp()) {
        state = 'cancelling'
        send(wish)
      } else if ((stream.run ?? firstSentAt ?? options.key) === undefined) {
        // START was never sent, under a key that only this client knows: nothing runs.
        const sent = {
          code: frame.code,
          by: 'client',
          settled: true,
          unsettled: [],
          provider: 'none',
          tools: [],
          kept: 0,
          ms: 0,
        }
        close({ outcome: 'cancelled', seq: 0, receipt: readReceipt(sent) })
      } else {
        wait()
        tryAgain()
      }
    },

    async cancelTarget(frame) {
      const { type, id } = frame.target!
      if (id.length > MAX_TARGET_ID) return { confirmed: false, code: 'not_found' }
      return ask([type, id], frame).catch((error: unknown) => {
        const { code } = error as MillraceError
        // The end of the run has a number. A refusal has none, and says nothing of the run.
        return { confirmed: false, code: code === 'connection_lost' && (ended as RunEnd).seq ? 'not_found' : code }
      }) as Promise<CancelResult>
    },

    input(type, data) {
      const mid = runtime.randomBytes(16)
      const taken = async (): Promise<InputTaken> => {
        const frame = prepare<Input>({ kind: 'input', sid: 1, mid, type, data }, connection.stated)
        return ask(mid, frame) as Promise<InputTaken>
      }
      const delivery = untaken.ask(mid, { kind: 'detach' }) as Promise<Delivery>
      return Object.assign(taken(), { delivery })
    },

    setRate(perSec) {
      const frame = prepare<Rate>({ kind: 'rate', sid: 1, perSec })
      reading.rate = perSec ?? undefined
      if (isUp()) send(frame)
    },

    detach(reason) {
      if (state === 'closed' || wish) return
      if (isUp()) send({ kind: 'detach' })
      close(reason)
    },
  }

  wait()
  return stream
}

/** The feature that a server needs for an input. */
function featureOf(frame: StreamFrame): string | undefined {
  if (frame.kind !== 'input') return undefined
  const { args, remember } = Object(frame.data) as { args?: unknown; remember?: unknown }
  // An older server would run the call with the arguments of the model.
  if (frame.type === 'approve') return (args ?? remember) === undefined ? undefined : frame.type
  return frame.type === 'govern' || frame.type === 'stop'
    ? frame.type
    : /^message\./.test(frame.type)
      ? 'steer'
      : undefined
}

/** The error of what waits because the connection has as many streams as the server allows. */
export function tooManyStreams(): MillraceError {
  return new MillraceError('too_many_streams', 'too many streams: end one first')
}
