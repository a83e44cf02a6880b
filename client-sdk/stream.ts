import { CreditWindow } from '../protocol/credit.ts'
import { type ErrorCode, type ErrorShape, MillraceError } from '../protocol/errors.ts'
import { EVENT, type StreamEvent } from '../protocol/events.ts'
import {
  type Attach,
  type Cancel,
  type Delta,
  type End,
  type EventFrame,
  type Gap,
  type Input,
  type InputAck,
  type InputStatus,
  type Notice,
  type Opened,
  OUTCOMES,
  type Rate,
  type Start,
  type SubscriptionOptions,
  TAG,
} from '../protocol/frames.ts'
import type { Receipt } from '../protocol/receipt.ts'
import type { Timer } from '../protocol/runtime.ts'
import type { CancelResult } from './cancel.ts'
import type { Connection } from './connection.ts'
import { type Deferred, deferred } from './deferred.ts'
import { Inbox } from './inbox.ts'

/** Why a stream is over: its END, or an error that only this side knows of. Neither: it was detached. */
export type Ending = { readonly end?: End; readonly error?: MillraceError }

/** Who hears of a stream. */
export type StreamListener = {
  opened(run: string, gen: number): void
  /** The inbox has something new. */
  arrived(): void
  /** Called once. What waits in the inbox comes before it. */
  closed(ending: Ending): void
}

/** What a run says of an input that it has. */
export type InputTaken = Extract<InputStatus, 'accepted' | 'duplicate'>

/** Something the run will answer. Until it has, it is asked again after each loss. */
type Question = Deferred<unknown> & { readonly frame: Cancel | Input }

const INPUT_ERRORS: { readonly [status in Exclude<InputStatus, InputTaken>]: ErrorCode } = {
  unwanted: 'not_found',
  invalid: 'invalid_input',
  busy: 'overloaded',
}

/**
 * The wire side of one run or view: the protocol's table of a stream, with a method for each row. It outlives the
 * connections it is opened on.
 */
export class Stream {
  readonly inbox: Inbox
  sid = 0
  /** The run's id, once it is known. */
  run: string | undefined
  readonly #connection: Connection
  readonly #request: Start | Attach
  readonly #listener: StreamListener
  readonly #window: CreditWindow
  readonly #questions = new Map<string, Question>()
  #state: 'lost' | 'opening' | 'open' | 'cancelling' | 'closed' = 'lost'
  #rate: number | null
  /** Where to begin is decided by the first OPENED. */
  #isLive: boolean
  #wasOpened = false
  #firstSentAt: number | undefined
  /** The credit that the last START or ATTACH asked for. */
  #asked = 0
  /** CANCEL of the whole run, once it was asked for. */
  #wish: Cancel | undefined
  #hadFault = false
  #refusals = 0
  #retry: Timer | undefined
  #deadline: Timer | undefined

  constructor(connection: Connection, request: Start | Attach, listener: StreamListener) {
    const { credit = connection.limits.initialCredit, rate = null } = request.options
    this.#connection = connection
    this.#request = request
    this.#listener = listener
    this.#rate = rate
    this.#window = new CreditWindow(credit)
    this.inbox = new Inbox(this.#window)
    this.#isLive = request.kind === 'attach' && request.after === null
    if (request.kind === 'attach') {
      this.run = request.run
      this.inbox.last = this.inbox.readSeq = request.after ?? 0
      this.inbox.gen = this.inbox.readGen = request.options.gen
    }
    if (connection.status !== 'open') this.#wait()
  }

  /** A message is on its way that may open this stream: as it was asked for, or behind the last item that came. */
  open(sid: number): void {
    const { runtime, limits } = this.#connection
    const now = runtime.now()
    this.#firstSentAt ??= now
    const { run, inbox } = this
    // Later than this the key may be forgotten, and the same START would begin a second run.
    if (run === undefined && now - this.#firstSentAt > limits.endedMs / 2) return this.giveUp()
    this.#retry?.clear()
    this.sid = sid
    this.#state = this.#wish ? 'cancelling' : 'opening'
    this.#asked = this.#window.reopen()
    const request = this.#request
    const { policy, ts } = request.options
    const options = { policy, ts, credit: this.#asked, rate: this.#rate ?? undefined } as SubscriptionOptions
    if (request.kind === 'start' && run === undefined) {
      this.#connection.send({ ...request, sid, options: { ...request.options, ...options } })
    } else {
      const after = this.#isLive ? null : inbox.last
      const view = { ...options, gen: inbox.gen } as Attach['options']
      this.#connection.send({ kind: 'attach', sid, run: run as string, after, options: view })
    }
    for (const { frame } of this.#questions.values()) this.#connection.send({ ...frame, sid })
    if (this.#wish) this.#connection.send({ ...this.#wish, sid })
  }

  /** The connection is gone, or the server cannot open this stream now. */
  lost(): void {
    this.#state = 'lost'
    this.#wait()
  }

  giveUp(): void {
    if (this.#state === 'lost') this.#close({ error: this.#connection.error })
  }

  receive(frame: Opened | InputAck | Delta | EventFrame | Gap | End): void {
    switch (frame.kind) {
      case 'opened':
        return this.#opened(frame)
      case 'delta':
      case 'event':
        return this.#items(frame)
      case 'gap':
        return this.#gap(frame)
      case 'input_ack':
        return this.#inputAck(frame)
      case 'end':
        return this.#end(frame)
    }
  }

  notice({ code, message, ref }: Notice): void {
    const error = new MillraceError(code as ErrorCode, message)
    this.#questions.get(String(ref?.detail))?.reject(error)
    if (this.#state === 'cancelling' && code === 'forbidden' && ref?.tag === TAG.cancel) {
      this.#connection.send({ kind: 'detach', sid: this.sid })
      this.#close({ error })
    }
  }

  /** The next item for the reader; its credit goes back. */
  take(): StreamEvent | undefined {
    const event = this.inbox.take()
    this.#giveCredit()
    return event
  }

  /** Stops the run; its end closes this stream. */
  cancel(code: number, note: string | undefined): void {
    if (this.#state === 'closed' || this.#wish) return
    const wish = (this.#wish = { kind: 'cancel', sid: this.sid, code, note } as Cancel)
    if (this.#isUp()) {
      this.#state = 'cancelling'
      this.#connection.send(wish)
    } else if (this.run === undefined && this.#firstSentAt === undefined) {
      this.#close({ end: neverStarted(wish) })
    } else {
      this.#stopWaiting()
      this.#wait()
    }
  }

  /** Stops one tool call or sub-agent. */
  cancelPart(target: NonNullable<Cancel['target']>, code: number, note: string | undefined): Promise<CancelResult> {
    const frame = { kind: 'cancel', sid: this.sid, code, note, target } as Cancel
    const result = this.#ask(String([target.type, target.id]), frame) as Promise<CancelResult>
    return result.catch((error: unknown) => ({ confirmed: false, code: (error as MillraceError).code }))
  }

  /** Says something to the run. */
  async input(type: string, data: unknown): Promise<InputTaken> {
    const mid = this.#connection.runtime.randomBytes(16)
    const frame = this.#connection.prepare<Input>({ kind: 'input', sid: this.sid, mid, type, data })
    return this.#ask(String(mid), frame) as Promise<InputTaken>
  }

  /** Items a second from now on: 0 pauses, null lifts. */
  setRate(perSec: number | null): void {
    const frame = this.#connection.prepare<Rate>({ kind: 'rate', sid: this.sid, perSec }, { perSec })
    this.#rate = perSec
    if (this.#isUp()) this.#connection.send(frame)
  }

  /** Leaves the run to itself. */
  detach(error?: MillraceError): void {
    if (this.#state === 'closed' || this.#wish) return
    if (this.#isUp()) this.#connection.send({ kind: 'detach', sid: this.sid })
    this.#close(error ? { error } : {})
  }

  #opened({ next, run, gen, credit, lanes, pending }: Opened): void {
    if (this.#state !== 'opening') return
    const { inbox } = this
    this.#state = 'open'
    this.#stopWaiting()
    this.#refusals = 0
    this.#window.shrink(Math.max(0, this.#asked - credit))
    this.run = run
    // Where the stream stands is known already, else: only the GAP that may follow moves it.
    if (this.#isLive) inbox.last = inbox.readSeq = next - 1
    inbox.gen ??= gen
    inbox.readGen ??= gen
    inbox.open(lanes)
    // A reader from the start, or one that was here before, has these or will get them.
    if (!this.#wasOpened && next > 1 && next === inbox.last + 1) inbox.pending(pending, this.#now())
    this.#isLive = false
    this.#wasOpened = true
    this.#listener.opened(run, gen)
    this.#arrived()
  }

  #items(frame: Delta | EventFrame): void {
    if (this.#state !== 'open') return
    const { inbox } = this
    const isText = frame.kind === 'delta'
    const isList = isText && typeof frame.body !== 'string'
    const count = isList ? frame.body.length : isText ? (frame.count ?? 1) : 1
    const known = Math.max(0, Math.min(count, inbox.last + 1 - frame.seq))
    if (frame.seq > inbox.last + 1 || (known % count > 0 && !isList)) return this.#fault()
    const at = frame.ts ?? this.#now()
    this.#window.returned(isText ? known : known * frame.cost)
    if (known < count) {
      if (isText) inbox.text(frame, known, at)
      else {
        inbox.event(frame, at)
        this.#partEnded(frame)
      }
    }
    this.#arrived()
  }

  #gap(gap: Gap): void {
    if (this.#state !== 'open') return
    const { inbox } = this
    const isMissing = gap.next > inbox.last + 1
    const now = this.#now()
    inbox.gen = gap.gen ?? inbox.gen
    inbox.gap(gap, now)
    inbox.open(gap.lanes)
    if (isMissing) inbox.pending(gap.pending, now)
    this.#arrived()
  }

  #inputAck({ mid, status, note }: InputAck): void {
    const question = this.#questions.get(String(mid))
    this.#questions.delete(String(mid))
    if (status === 'accepted' || status === 'duplicate') question?.resolve(status)
    else question?.reject(new MillraceError(INPUT_ERRORS[status], note ?? `the input is ${status}`))
  }

  #end(end: End): void {
    const { seq, outcome, data } = end
    if (seq === 0 && data['retryable'] && (this.#wasOpened || this.#wish)) {
      const delay = this.#connection.delay(this.#refusals++)
      this.#retry = this.#connection.runtime.setTimer(delay, () => this.#connection.add(this))
      return this.lost()
    }
    this.#close(outcome === 'unsubscribed' ? { error: MillraceError.fromShape(data as ErrorShape) } : { end })
  }

  /** Answers whoever wanted to stop the tool call or sub-agent that this event ends. */
  #partEnded({ type, data }: EventFrame): void {
    const target = type === EVENT.toolResult ? 'call' : type === EVENT.agentEnd ? 'agent' : ''
    const name = String([target, data[target]])
    const receipt = data['receipt'] as Receipt | undefined
    this.#questions.get(name)?.resolve({ ...receipt, outcome: OUTCOMES[data['outcome'] as number], confirmed: true })
    this.#questions.delete(name)
  }

  #ask(name: string, frame: Cancel | Input): Promise<unknown> {
    const question = this.#questions.get(name) ?? { ...deferred<unknown>(), frame }
    this.#questions.set(name, question)
    if (this.#isUp()) this.#connection.send(frame)
    if (this.#state === 'closed') this.#forget()
    return question.promise
  }

  #isUp(): boolean {
    return this.#state === 'opening' || this.#state === 'open'
  }

  #now(): number {
    return this.#connection.runtime.wallClock()
  }

  #arrived(): void {
    this.#giveCredit()
    this.#listener.arrived()
  }

  #giveCredit(): void {
    const n = this.#isUp() ? this.#window.due() : 0
    if (n > 0) this.#connection.send({ kind: 'credit', sid: this.sid, n })
  }

  /** Items do not follow each other. A new connection may mend that, once. */
  #fault(): void {
    if (this.#hadFault) return this.detach(new MillraceError('internal', 'items are out of order, also after a resume'))
    this.#hadFault = true
    this.#connection.resume()
  }

  /** Gives up when the connection does not come back in time; a try that is under way then is waited for. */
  #wait(): void {
    const { runtime, limits, connectMs } = this.#connection
    this.#deadline ??= runtime.setTimer(this.#wasOpened && !this.#wish ? limits.resumeMs : connectMs, () => {
      this.#deadline = undefined
      if (this.#state === 'lost') this.giveUp()
      else this.#wait()
    })
  }

  #stopWaiting(): void {
    this.#deadline?.clear()
    this.#deadline = undefined
  }

  #close(ending: Ending): void {
    this.#state = 'closed'
    this.#stopWaiting()
    this.#retry?.clear()
    this.#connection.remove(this)
    this.#forget()
    this.#listener.closed(ending)
  }

  #forget(): void {
    const error = new MillraceError('connection_lost', 'the stream is over: what became of this is not known')
    for (const question of this.#questions.values()) question.reject(error)
  }
}

/** The end of a run whose START never left. */
function neverStarted({ code, note }: Cancel): End {
  const facts = { by: 'client', settled: true, unsettled: [], provider: 'none', tools: [], kept: 0, ms: 0 }
  return { kind: 'end', sid: 0, seq: 0, outcome: 'cancelled', data: { code, note, ...facts } }
}
