import { randomBytes } from 'node:crypto'
import { must, NotJudged, same } from '../mismatch.ts'
import type { ServerCheck } from './bench.ts'

/** How many times its patience a check waits for a server to go. */
const GRACE_PATIENCE = 3
/** The least time for runs, in milliseconds, within which a server can be asked for something. */
const LEAST_GRACE_MS = 200

export const drainChecks: readonly ServerCheck[] = [
  {
    name: 'drain',
    level: 'full',
    section: 'A server that goes away',
    rule: 'A server that goes away says GOAWAY, begins nothing with draining, lets clients read on, ends what goes on with interrupted, and closes with 4503.',
    hint: 'A START whose key is known, and every ATTACH, still work.',
    isAlone: true,
    async run(bench) {
      await using peer = await bench.connect()
      const key = new Uint8Array(randomBytes(16))
      peer.start(1, 'silent', null, { key })
      const { run } = await peer.opened(1)
      const mostMs = GRACE_PATIENCE * bench.patienceMs
      const hasCome = (): boolean => peer.frames.some(({ kind }) => kind === 'goaway')
      // What tells the server may end only when the server has.
      await Promise.race([bench.drain(), peer.until(hasCome, 'GOAWAY', mostMs)])
      const { graceMs } = await peer.next('goaway')
      if (graceMs < LEAST_GRACE_MS)
        throw new NotJudged(`the server gives its runs ${graceMs} ms, and the kit needs ${LEAST_GRACE_MS}`)
      if (graceMs > mostMs)
        throw new NotJudged(`the server gives its runs ${graceMs} ms, and the kit waits for ${mostMs}: see --patience`)
      peer.start(2, 'silent')
      await peer.refusal(2, 'draining')
      peer.start(3, 'silent', null, { key })
      same((await peer.opened(3)).run, run, 'the run of a START whose key is known')
      peer.attach(4, run, null)
      same((await peer.opened(4)).run, run, 'the run of an ATTACH')
      const isOver = (): boolean => peer.frames.some((frame) => frame.kind === 'end' && frame.sid === 1)
      await peer.until(isOver, `END of stream 1 within ${graceMs} ms of GOAWAY`, graceMs + bench.patienceMs)
      const { seq, outcome, data } = await peer.next('end', 1)
      must(seq > 0, 'the end of a run', 'a refusal')
      same([outcome, data['code']], ['error', 'interrupted'], 'outcome and code of END')
      await peer.closesWith([4503], 'when its runs have ended')
    },
  },
]
