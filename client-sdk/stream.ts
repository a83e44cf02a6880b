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
  type UpFrame,
} from '../protocol/frames.ts'
import type { Receipt } from '../protocol/receipt.ts'
import type { Timer } from '../protocol/runtime.ts'
import * as TAG from '../protocol/tag.ts'
import type { CancelResult } from './cancel.ts'
import type { ConnectedStream, Connection } from './connection.ts'
import { type Deferred, deferred } from './deferred.ts'
import { createInbox } from './inbox.ts'

/** How a stream is over: with the end of its run, or with an error that says why this end is not known here. */
export type StreamEnd = RunEnd | MillraceError

/** Who hears of a stream. */
export type StreamListener = {
  opened(run: string, gen: number): void
  /** The inbox has something new. */
  arrived(): void
  /** Called once. What waits in the inbox comes before it. */
  closed(ending: StreamEnd): void
}

/** A place in a run's log. An application may keep it and attach behind it later. */
export type Position = { run: string; gen: number; seq: number }

/** What a run says of an input that it has. */
export type InputTaken = Extract<InputStatus, 'accepted' | 'duplicate'>

/** No part of a run has a longer id, and a server names none in its answers. */
const MAX_PART_ID = 1_024

/** The number of a stream that the server could not open: it waits for its next try, not for the next message. */
const WAITS = -1

/** A frame of this stream, whatever its number is at the time. */
type Unaddressed<Frame> = Frame extends { sid: number } ? Omit<Frame, 'sid'> : never
type StreamFrame = Unaddressed<UpFrame>

/** Something the run will answer. Until it has, it is asked again after each loss. */
type PendingAnswer = Deferred<unknown> & { readonly frame: StreamFrame }

const INPUT_ERRORS: { readonly [status in InputStatus]?: ErrorCode } = {
  unwanted: 'not_found',
  invalid: 'invalid_input',
  busy: 'overloaded',
}

/**
 * The wire side of one run or view: the protocol's table of a stream, with a function for each row. It outlives the
 * connections it is opened on.
 */
export interface Stream extends ConnectedStream {
  /** The run's id, once it is known. */
  run: string | undefined
  /** The last item that was read. Undefined until the run is opened. */
  position(): Position | undefined
  /** The next item for the reader; its credit goes back. */
  take(): StreamEvent | undefined
  /** Stops the run; its end closes this stream. */
  cancel(code: number, note: string | undefined): void
  /** Stops one tool call or sub-agent. */
  cancelPart(target: NonNullable<Cancel['target']>, code: number, note: string | undefined): Promise<CancelResult>
  /** Says something to the run. */
  input(type: string, data: unknown): Promise<InputTaken>
  /** Items a second from now on: 0 pauses, null lifts. */
  setRate(perSec: number | null): void
  /** Leaves the run to itself. */
  detach(reason: MillraceError): void
}

export function createStream(connection: Connection, request: Start | Attach, listener: StreamListener): Stream {
  const { runtime, connectMs } = connection
  const { credit = connection.limits.initialCredit, policy, rate, ts } = request.options
  const view = request.kind === 'attach' ? request : undefined
  /** What the application named may run already. */
  const named = request.kind === 'start' ? request.options.key : undefined
  const key = named ?? runtime.randomBytes(16)
  const window = new CreditWindow(credit)
  const inbox = createInbox(window, () => runtime.wallClock(), view?.after ?? 0, view?.options.gen)
  const questions = new Map<string, PendingAnswer>()
  let state: 'lost' | 'opening' | 'open' | 'cancelling' | 'closed' = 'lost'
  let wasOpened = false
  let firstSentAt: number | undefined
  /** A connection was lost between START and its answer: nobody here knows whether the run began. */
  let mayHaveBegun = false
  /** What the last START or ATTACH said of how this stream reads, and the next will. */
  const reading = { policy, rate, ts, credit, gen: inbox.gen }
  /** CANCEL of the whole run, once it was asked for. */
  let wish: StreamFrame | undefined
  /** The run's end came. */
  let isOver = false
  let hadFault = false
  let refusals = 0
  let retry: Timer | undefined
  let deadline: Timer | undefined

  /** Where a live view begins is for the first OPENED to say. */
  const isUndecided = (): boolean => view?.after === null && !wasOpened

  const isUp = (): boolean => state === 'opening' || state === 'open'

  const send = (frame: StreamFrame): void => connection.send({ ...frame, sid: stream.sid })

  const giveCredit = (): void => {
    const n = isUp() ? window.due() : 0
    if (n > 0) send({ kind: 'credit', n })
  }

  const arrived = (): void => {
    giveCredit()
    listener.arrived()
  }

  const stopWaiting = (): void => {
    deadline?.clear()
    deadline = undefined
  }

  /** Gives up when the connection does not come back in time; a try that is under way then is waited for. */
  const wait = (): void => {
    deadline ??= runtime.setTimer(wasOpened && !wish ? connection.limits.resumeMs : connectMs, () => {
      deadline = undefined
      if (state === 'lost') close(connection.error())
      else wait()
    })
  }

  /** Opens the stream again with the next message: its wait is over. */
  const tryAgain = (): void => {
    retry?.clear()
    stream.sid = 0
    connection.add(stream)
  }

  const forget = (): void => {
    const error = new MillraceError('connection_lost', 'the stream was over before the answer')
    for (const question of questions.values()) question.reject(error)
  }

  const close = (ending: StreamEnd): void => {
    state = 'closed'
    // A refusal, which has no number, says nothing of the run.
    isOver = !(ending instanceof Error) && ending.seq > 0
    stopWaiting()
    retry?.clear()
    connection.remove(stream)
    forget()
    listener.closed(ending)
  }

  const ask = (name: unknown, frame: StreamFrame): Promise<unknown> => {
    const question = questions.get(String(name)) ?? { ...deferred<unknown>(), frame }
    questions.set(String(name), question)
    if (isUp()) send(frame)
    if (state === 'closed') forget()
    return question.promise
  }

  /** What answers the cancel of a part may be missing: whether that goes on is asked again. */
  const askAgain = (): void => {
    for (const { frame } of questions.values()) if (frame.kind === 'cancel') send(frame)
  }

  /** The question of that name, which has its answer now. */
  const answer = (name: unknown): PendingAnswer | undefined => {
    const question = questions.get(String(name))
    questions.delete(String(name))
    return question
  }

  /** What the server says does not follow from what it said before. A new connection may mend that, once. */
  const fault = (): void => {
    if (hadFault) stream.detach(new MillraceError('internal', 'the server broke the order of items twice'))
    else connection.resume()
    hadFault = true
  }

  /** `count` items came, of which `join` is given the number that came before. Only a list can be cut there. */
  const receive = (seq: number, count: number, cost: number, isList: boolean, join: (known: number) => void): void => {
    if (state !== 'open') return
    const known = Math.min(count, inbox.last + 1 - seq)
    const follows = known === 0 || known === count || (known > 0 && isList)
    if (!follows || !window.allows(cost, count)) return fault()
    window.returned((known * cost) / count)
    if (known < count) join(known)
    arrived()
  }

  const stream: Stream = {
    sid: 0,
    run: view?.run,

    position() {
      const { run } = stream
      const { readGen: gen, readSeq: seq } = inbox
      return run !== undefined && gen !== undefined ? { run, gen, seq } : undefined
    },

    open(sid) {
      const now = runtime.now()
      const { run } = stream
      firstSentAt ??= now
      stream.sid = sid
      // Later than this the key may be forgotten, and the same START would begin a second run.
      if (run === undefined && now - firstSentAt > connection.limits.endedMs / 2) {
        close(connection.error())
        return
      }
      state = wish ? 'cancelling' : 'opening'
      reading.credit = window.reopen()
      reading.gen = inbox.gen
      if (run === undefined) send({ ...(request as Start), options: { ...request.options, ...reading, key } })
      else send({ kind: 'attach', run, after: isUndecided() ? null : inbox.last, options: reading })
      for (const { frame } of questions.values()) send(frame)
      if (wish) send(wish)
    },

    lost() {
      mayHaveBegun ||= state === 'opening'
      retry?.clear()
      stream.sid = 0
      state = 'lost'
      wait()
    },

    giveUp(reason) {
      if (state === 'lost') close(reason)
    },

    opened({ next, run, gen, credit, lanes, pending }) {
      // The wish may have to be said again, and by its id the run is found for as long as it is kept.
      if (state === 'cancelling') stream.run = run
      if (state !== 'opening') return
      if (stream.run !== undefined && run !== stream.run) {
        fault()
        return
      }
      state = 'open'
      stopWaiting()
      refusals = 0
      window.shrink(Math.max(0, reading.credit - credit))
      stream.run = run
      // Where any other stream stands is known, and only a GAP moves it.
      if (isUndecided()) inbox.last = inbox.readSeq = next - 1
      inbox.gen ??= gen
      inbox.readGen ??= gen
      inbox.open(lanes)
      // A reader from the start, or one that was here before, has these or will get them.
      if (!wasOpened && next > 1 && next === inbox.last + 1) inbox.pending(pending)
      wasOpened = true
      listener.opened(run, gen)
      arrived()
    },

    delta(frame) {
      const { seq, body, count = 1 } = frame
      const isList = typeof body !== 'string'
      const items = isList ? body.length : count
      receive(seq, items, items, isList, (known) => inbox.text(frame, known))
    },

    event(frame) {
      const { seq, type, data, cost } = frame
      receive(seq, 1, cost, false, () => {
        inbox.event(frame)
        // Somebody may wait for this tool call or sub-agent to be stopped.
        const target = type === EVENT.toolResult ? 'call' : type === EVENT.agentEnd ? 'agent' : ''
        const outcome = OUTCOMES[data['outcome'] as number]
        answer([target, data[target]])?.resolve({ ...(data['receipt'] as object), outcome, confirmed: true })
        // Of a part within it there may be no more to hear.
        if (type === EVENT.agentEnd) askAgain()
      })
    },

    gap(frame) {
      if (state !== 'open') return
      const { next, gen = inbox.gen, lanes, pending } = frame
      const isMissing = next > inbox.last + 1
      inbox.gen = gen
      inbox.gap(frame)
      inbox.open(lanes)
      if (isMissing) {
        inbox.pending(pending)
        askAgain()
      }
      arrived()
    },

    input_ack({ mid, status, note = `the input is ${status}` }) {
      const code = INPUT_ERRORS[status]
      const question = answer(mid)
      if (code) question?.reject(new MillraceError(code, note))
      else question?.resolve(status)
    },

    notice({ code, message, ref }) {
      const error = new MillraceError(code as ErrorCode, message)
      answer(ref?.detail)?.reject(error)
      if (state === 'cancelling' && code === 'forbidden' && ref?.tag === TAG.cancel) {
        send({ kind: 'detach' })
        close(error)
      }
    },

    end({ seq, outcome, data }) {
      if (seq === 0 && data['retryable'] && (wasOpened || wish || mayHaveBegun)) {
        connection.remove(stream)
        stream.lost()
        stream.sid = WAITS
        connection.add(stream)
        retry = runtime.setTimer(connection.delay(refusals++), tryAgain)
        return
      }
      // Items are missing before it: without them the text would seem complete.
      if (state === 'open' && seq > 0 && seq !== inbox.last + 1) {
        fault()
        return
      }
      if (outcome === 'unsubscribed') {
        close(MillraceError.fromShape(data as ErrorShape))
        return
      }
      const facts = outcome === 'done' ? data : outcome === 'error' ? { error: data } : { receipt: data }
      const usage = data['usage'] && { usage: data['usage'] }
      close({ outcome, seq, ...(usage as object), ...facts })
    },

    take() {
      const event = inbox.take()
      giveCredit()
      return event
    },

    cancel(code, note) {
      if (state === 'closed' || wish) return
      wish = { kind: 'cancel', code, note } as StreamFrame
      stopWaiting()
      refusals = 0
      if (isUp()) {
        state = 'cancelling'
        send(wish)
      } else if ((stream.run ?? firstSentAt ?? named) === undefined) {
        const receipt = {
          code,
          by: 'client',
          settled: true,
          unsettled: [],
          provider: 'none',
          tools: [],
          kept: 0,
          ms: 0,
        }
        close({ outcome: 'cancelled', seq: 0, receipt: receipt as unknown as Receipt })
      } else {
        wait()
        tryAgain()
      }
    },

    cancelPart(target, code, note) {
      if (target.id.length > MAX_PART_ID) return Promise.resolve({ confirmed: false, code: 'not_found' })
      const stopped = ask([target.type, target.id], { kind: 'cancel', code, note, target } as StreamFrame)
      return stopped.catch((error: unknown) => ({
        confirmed: false,
        code: isOver ? 'not_found' : (error as MillraceError).code,
      })) as Promise<CancelResult>
    },

    async input(type, data) {
      const mid = runtime.randomBytes(16)
      return ask(mid, connection.prepare<Input>({ kind: 'input', sid: 0, mid, type, data })) as Promise<InputTaken>
    },

    setRate(perSec) {
      const frame = connection.prepare<Rate>({ kind: 'rate', sid: 0, perSec }, { perSec })
      reading.rate = perSec ?? undefined
      if (isUp()) send(frame)
    },

    detach(reason) {
      if (state === 'closed' || wish) return
      if (isUp()) send({ kind: 'detach' })
      close(reason)
    },
  }

  if (connection.status() !== 'open') wait()
  return stream
}
