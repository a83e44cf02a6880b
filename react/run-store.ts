import {
  type AnyData,
  type AttachOptions,
  type CancelOptions,
  type CancelResult,
  type CancelTarget,
  type Client,
  type ListedRun,
  MillraceError,
  type RequestEvent,
  type Run,
  type RunEnd,
  type SentInput,
  type StartOptions,
  type StreamEvent,
} from '../client-sdk/index.ts'
import { attend } from './attention.ts'
import { createExternalStore, type ExternalStore } from './external-store.ts'
import { drawnFrame, type NextFrame, orSecond } from './frames.ts'
import { paced } from './paced.ts'
import { type Reading, readRun } from './reading.ts'
import { createRunDraft } from './run-draft.ts'
import { createRunFinder } from './run-finder.ts'
import { type RunList, runListOf } from './run-list-store.ts'
import type { RunActions, RunState, RunStatus, ShownRun, UseRunOptions } from './shown-run.ts'

/** One run at a time as a page shows it, and what it can do with it. */
export type RunStore = ExternalStore<ShownRun<AnyData, unknown, unknown>> & {
  /** Takes over the options of the latest rendering. */
  use(options: UseRunOptions): void
}

/**
 * @param options Those of the first rendering.
 * @param drawn Default: the frames of the page.
 */
export function createRunStore(
  client: Client,
  actor: string,
  options: UseRunOptions,
  drawn: NextFrame = drawnFrame,
): RunStore {
  const { follow } = options
  const findNext = createRunFinder(actor, follow ?? {})
  const asked = new Set<string>()
  let draft = createRunDraft()
  let status: RunStatus = options.id !== undefined ? 'opening' : follow ? 'finding' : 'idle'
  let id = options.id
  let meta: StartOptions['meta']
  let end: RunEnd | undefined
  let error: MillraceError | undefined
  let isStopping = false
  /** Items per second; null without a limit. */
  let perSec: number | null = null
  let isPaused = false
  /** Behind which item the page reads on. */
  let position: { gen: number; after: number } | undefined
  /** A rewind took items back: nothing is shown until those before them are here again. */
  let rereadTo = 0
  /** Starts the run that is shown, again with the same key, for as long as its id is not known. */
  let startRun: (() => Run) | undefined
  let reading: Reading | undefined
  let isMounted = false
  let hasBegun = false
  let undraw: (() => void) | undefined
  let ignoreOthers: (() => void) | undefined

  /** A request comes again when the page reads on: it is answered once. */
  const answer = (request: RequestEvent): unknown => {
    if (asked.has(request.id)) return undefined
    asked.add(request.id)
    return options.onRequest?.(request)
  }

  const frame: NextFrame = (callback) => (options.whenHidden === 'read' ? orSecond(drawn) : drawn)(callback)

  const isLive = (): boolean => status === 'opening' || status === 'running'

  const stateNow = (): RunState => {
    const found = draft.findings()
    return {
      status: isStopping && isLive() ? 'stopping' : status,
      isLive: isLive(),
      id,
      ...found,
      requests: isLive() ? found.requests : [],
      data: found.data,
      usage: end?.usage ?? found.usage,
      result: end?.outcome === 'done' ? ('result' in end ? end.result : found.text) : undefined,
      end,
      receipt: end?.receipt,
      error,
      isPaused,
      meta,
    }
  }

  /** Shows what has changed, now. */
  const show = (): void => {
    undraw?.()
    undraw = undefined
    store.set(Object.freeze({ ...stateNow(), ...actions }))
  }

  /** Shows it with the next frame, together with what comes until then. */
  const showSoon = (): void => {
    undraw ??= frame(() => {
      undraw = undefined
      if ((position?.after ?? 0) >= rereadTo) show()
    })
  }

  const become = (next: RunStatus, why?: MillraceError): void => {
    status = next
    error = why
    if (!isLive()) {
      isStopping = false
      ignoreOthers?.()
      ignoreOthers = undefined
    }
    show()
  }

  /** Reads on, from where it was left. */
  const read = (): Run | undefined => {
    try {
      const { policy = 'pace', credit } = options
      const rate = isPaused ? 0 : (perSec ?? undefined)
      const reads: AttachOptions = {
        policy,
        credit,
        rate,
        onRequest: answer,
        after: position?.after,
        gen: position?.gen,
      }
      const run = id === undefined ? startRun!() : client.attach(actor, id, reads)
      const source = (options.read as ((run: Run) => AsyncIterable<StreamEvent>) | undefined)?.(run) ?? run
      reading = readRun(run, paced(source, frame), { opened: openedAs, event: take, over })
      return run
    } catch (thrown) {
      become('error', MillraceError.from(thrown))
      return undefined
    }
  }

  const over = (how: RunEnd | MillraceError, failure: unknown): void => {
    reading = undefined
    // A refusal to attach says nothing of the run.
    if (how instanceof MillraceError) become('lost', how)
    else if (how.outcome === 'error' && how.seq === 0 && id !== undefined) become('lost', MillraceError.from(failure))
    else {
      end = how
      const isError = failure !== undefined && !MillraceError.is(failure, 'cancelled')
      become(how.outcome, isError ? MillraceError.from(failure) : undefined)
    }
  }

  const take = (event: StreamEvent, run: Run): void => {
    const { onEvent } = options
    // An error of it is the application's, and is reported as one.
    if (onEvent) queueMicrotask(() => onEvent(event))
    if (event.type === 'gap' && event.reason === 'rewound') {
      // What was shown is partly void. The log has all that counts.
      leave()
      draft = createRunDraft()
      position = undefined
      rereadTo = event.next - 1
      read()
      return
    }
    draft.read(event)
    position = { after: event.seq, gen: run.position!.gen }
    showSoon()
  }

  const openedAs = (opened: string): void => {
    id = opened
    ignoreOthers ??= attend(opened, (mayRead) => (mayRead ? readOn() : leave()))
    if (status === 'opening') become('running')
    if (follow) consider(runListOf(client).getSnapshot())
  }

  /** Stops reading. The run goes on. */
  const leave = (): void => {
    reading?.leave()
    reading = undefined
  }

  const readOn = (): void => {
    if (isMounted && !reading && isLive()) read()
  }

  const forget = (next: RunStatus): void => {
    ignoreOthers?.()
    ignoreOthers = undefined
    draft = createRunDraft()
    position = end = error = id = meta = startRun = undefined
    rereadTo = 0
    isStopping = isPaused = false
    perSec = options.rate || null
    status = next
  }

  const find = (run: ListedRun): void => {
    leave()
    forget('opening')
    ;({ id, meta } = run)
    read()
    show()
  }

  /** Shows the newest run of the list that was not there before. */
  const consider = ({ runs, isLoaded, error: why }: RunList): void => {
    // The run that is being started may be on the list, and its id is not known: it is considered again then.
    if (status === 'opening' && id === undefined) return
    const newest = findNext(runs)
    if (newest && newest.id !== id) find(newest)
    if (status !== 'finding') return
    // A server that is too old to list runs has none to find.
    if (!isLoaded && why?.code !== 'unsupported') {
      if (why) become('finding', why)
    } else if (options.input !== undefined) actions.start(options.input)
    else become('idle')
  }

  const actions: RunActions<unknown> = {
    start(input, own) {
      if (isLive()) {
        const before = reached()
        reading?.ignore()
        reading = undefined
        void before?.cancel({ reason: 'superseded' })
      }
      const { id: _, follow: __, input: ___, whenHidden: ____, read: _____, onEvent: ______, ...given } = options
      const allMeta = { ...given.meta, ...own?.meta, ...follow }
      const key = own?.key ?? crypto.getRandomValues(new Uint8Array(16))
      forget('opening')
      if (Object.keys(allMeta).length > 0) meta = allMeta
      const started: StartOptions = { policy: 'pace', ...given, ...own, key, meta, onRequest: answer }
      startRun = () => client.start(actor, input, { ...started, rate: isPaused ? 0 : (perSec ?? undefined) })
      if (read()) show()
    },

    stop: async (how?: CancelOptions & Partial<CancelTarget>): Promise<CancelResult> => {
      const run = reached()
      if (!run) return { confirmed: false, code: 'not_found' }
      // One target, or a stop that may be refused, does not show yet.
      const isWhole = how?.call === undefined && how?.agent === undefined && how?.ifSeq === undefined
      const result = run.cancel(how)
      if (isWhole && isLive()) {
        isStopping = true
        show()
      }
      const { confirmed } = await result
      if (!confirmed && isStopping) {
        isStopping = false
        show()
      }
      return result
    },

    pause() {
      isPaused = true
      reading?.run.pause()
      show()
    },

    resume() {
      actions.throttle(perSec)
    },

    throttle(to) {
      reading?.run.throttle(to)
      isPaused = to === 0
      perSec = to || null
      show()
    },

    send(type, data) {
      const run = reached()
      if (run) return run.send(type, data)
      const none = Promise.reject(new MillraceError('not_found', 'there is no run to send this to'))
      none.catch(() => {})
      return Object.assign(none, { delivery: Promise.resolve({ lost: 'unknown' as const }) })
    },

    approve: (call, approval) =>
      answered(
        call,
        actions.send('approve', { call, ...(typeof approval === 'boolean' ? { ok: approval } : approval) }),
      ),

    answer: (request, value) => answered(request, actions.send('answer', { request, value })),
  }

  /** The run, read again if it was left. */
  const reached = (): Run | undefined =>
    reading?.run ?? (isLive() && (id ?? startRun) !== undefined ? read() : undefined)

  const answered = (request: string, sent: SentInput): Promise<void> => {
    const close = (): void => {
      draft.answered(request)
      show()
    }
    const all = sent.then(close, (thrown: unknown) => {
      // Somebody else has answered, or it was withdrawn.
      if (MillraceError.is(thrown, 'not_found')) close()
      throw thrown
    })
    all.catch(() => {})
    return all
  }

  const enter = (): (() => void) => {
    isMounted = true
    const stopFollowing = follow && runListOf(client).subscribe(() => consider(runListOf(client).getSnapshot()))
    // What was lost with the connection may still be there.
    const ignore = client.onStatus((connection) => {
      if (connection !== 'open' || status !== 'lost' || error?.code === 'not_found') return
      become('opening')
      readOn()
    })
    readOn()
    if (follow) consider(runListOf(client).getSnapshot())
    else if (!hasBegun && options.id === undefined && options.input !== undefined) actions.start(options.input)
    hasBegun = true
    return () => {
      isMounted = false
      stopFollowing?.()
      ignore()
      ignoreOthers?.()
      ignoreOthers = undefined
      undraw?.()
      undraw = undefined
      leave()
    }
  }

  perSec = options.rate || null
  const initial = Object.freeze({ ...stateNow(), ...actions })
  const store = createExternalStore<ShownRun<AnyData, unknown, unknown>>(initial, enter)
  return {
    ...store,
    use(latest) {
      options = latest
    },
  }
}
