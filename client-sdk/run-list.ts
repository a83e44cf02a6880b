import { type ErrorShape, MillraceError } from '../protocol/errors.ts'
import type { ListedFacts } from '../protocol/frames.ts'
import type { Timer } from '../protocol/runtime.ts'
import { backoff } from './backoff.ts'
import type { Connection } from './connection.ts'
import { MAX_LISTED, REFUSED_WATCH } from './own-limits.ts'
import { Reader } from './reader.ts'
import type { ConnectedStream } from './socket.ts'
import { type StreamEnd, tooManyStreams } from './stream.ts'

/** A run that the server keeps, as `client.runs()` lists it. `attach` takes its `actor` and `id`. */
export type ListedRun<Name extends string = string> = Readonly<
  Omit<ListedFacts, 'actor'> & {
    /** The id of the run. */
    id: string
    /** The name of its actor. */
    actor: Name
  }
>

/**
 * The list of the runs of this client's principal. It is asked for when it is first read, and read as a run is: each
 * value takes the place of an event, and is the whole list as it is then. Without `watch` there is one value. With it,
 * the list is asked for again on every new connection, and a slow reader misses the states in between.
 */
export function createRunList<Name extends string>(
  connection: Connection,
  watch?: boolean,
): AsyncIterableIterator<readonly ListedRun<Name>[], undefined> {
  let runs = new Map<string, ListedRun<Name>>()
  /** The newest list, until it is read. */
  let list: ListedRun<Name>[] | undefined
  /** Ends what waits too long for its list, or asks again after a refusal. */
  let timer: Timer | undefined
  let isOver = false
  /** Why the list is not asked for though there is a connection. */
  let refusal: MillraceError | undefined

  const giveUp = (): void => {
    close((connection.status() === 'open' && refusal) || connection.error())
  }

  const close = (how: StreamEnd = { outcome: 'done', seq: 0 }): void => {
    const { sid } = stream
    isOver = true
    timer?.clear()
    // Of a list that is over already, the server ignores it.
    if (connection.remove(stream) && sid > 0) connection.send({ kind: 'detach', sid })
    reader.closed(how)
  }

  const wait = (ms: number, callback: () => void): void => {
    timer?.clear()
    timer = connection.runtime.setTimer(ms, callback)
  }

  const stream: ConnectedStream = {
    sid: 0,
    isFeature: true,

    open(sid) {
      if (!connection.features.includes('runs')) {
        close(new MillraceError('unsupported', 'the server is older than this call'))
        return
      }
      stream.sid = sid
      refusal = undefined
      runs = new Map()
      connection.send({ kind: 'list', sid, watch })
    },

    crowded() {
      refusal = tooManyStreams()
    },

    lost() {
      stream.sid = 0
    },

    giveUp,

    listed({ run, info }) {
      if (run === undefined) {
        list = [...runs.values()]
        timer!.clear()
        if (watch) reader.arrived()
        else close()
        return
      }
      if (info) runs.set(run, { ...info, id: run } as ListedRun<Name>)
      if (!info || runs.size > MAX_LISTED) runs.delete(run)
    },

    end({ data }) {
      if (!watch || !data['retryable']) {
        close(MillraceError.fromShape(data as ErrorShape))
        return
      }
      stream.sid = -1
      wait(backoff(connection, REFUSED_WATCH), () => {
        if (stream.sid < 0) stream.sid = 0
        connection.add(stream)
      })
    },
  }

  const reader = new Reader(
    {
      take() {
        if (!timer && !isOver) {
          wait(connection.connectMs, giveUp)
          connection.add(stream)
        }
        const newest = list
        list = undefined
        return newest as never
      },
      detach: close,
    },
    () => {
      list = undefined
      close()
    },
  )
  return reader.read('events')
}
