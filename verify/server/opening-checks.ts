import type { UpFrame } from '../../protocol/frames.ts'
import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import { needed } from './peer.ts'

export const openingChecks: readonly ServerCheck[] = [
  {
    name: 'opened',
    level: 'minimal',
    section: 'OPENED',
    rule: 'A START behind HELLO, in one message, is answered by WELCOME and OPENED, before the first item.',
    hint: 'Apply what follows HELLO after WELCOME. OPENED has the first number, the run, gen and the credit accepted.',
    async run(bench) {
      const start: UpFrame = { kind: 'start', sid: 1, actor: 'say', input: { texts: ['hi'] }, options: { credit: 8 } }
      await using peer = await bench.connect({ with: [start] })
      await peer.next('end', 1)
      const [first, second] = peer.frames.filter((frame) => frame.kind !== 'ping')
      must(first?.kind === 'welcome', 'WELCOME first', first ? frameWords(first) : 'nothing')
      must(second?.kind === 'opened', 'OPENED behind WELCOME', second ? frameWords(second) : 'nothing')
      const { next, run, gen, credit } = second
      must(run !== '', 'the id of the run', '""')
      same({ next, gen, credit }, { next: 1, gen: 1, credit: 8 }, 'next, gen and credit of OPENED')
    },
  },
  {
    name: 'unknown-actor',
    level: 'minimal',
    section: 'Opening',
    rule: 'A START of an unknown actor is refused with not_found, which is not retryable.',
    hint: 'The refusal is END with seq 0 and outcome 1.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'verify-no-such-actor')
      const { data } = await peer.refusal(1, 'not_found')
      same(data['retryable'], false, 'retryable')
    },
  },
  {
    name: 'invalid-input',
    level: 'minimal',
    section: 'Opening',
    rule: 'An input that the schema of an actor refuses ends as invalid_input.',
    hint: 'END has seq 0, or seq 1 behind OPENED when the schema needs time.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 'many' })
      const end = await peer.next('end', 1)
      must(end.outcome === 'error' && end.seq <= 1, 'END with outcome 1 and seq 0 or 1', frameWords(end))
      same(end.data['code'], 'invalid_input', 'the code')
    },
  },
  {
    name: 'stream-ids',
    level: 'minimal',
    section: 'START',
    rule: 'A sid that is not higher than those before it is malformed, also when those were refused.',
    hint: 'Keep the highest sid that START or ATTACH has used on the connection.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(5, 'verify-no-such-actor')
      await peer.next('end', 5)
      peer.start(5, 'say', { texts: [] })
      await peer.closesWith([4400], 'for a sid that was used before')
    },
  },
  {
    name: 'stream-count',
    level: 'minimal',
    section: 'Opening',
    rule: 'A stream beyond maxStreams is refused with too_many_streams, which is retryable.',
    hint: 'Count the streams of the connection that are open.',
    async run(bench) {
      await using peer = await bench.connect()
      const { maxStreams } = REFERENCE_LIMITS
      for (let sid = 1; sid <= maxStreams + 1; sid++)
        peer.start(sid, 'silent', null, { onDetach: 'cancel', detachMs: 1 })
      const { data } = await peer.refusal(maxStreams + 1, 'too_many_streams')
      same(data['retryable'], true, 'retryable')
      for (let sid = 1; sid <= maxStreams; sid++) await peer.opened(sid)
    },
  },
  {
    name: 'unknown-streams',
    level: 'minimal',
    section: 'Opening',
    rule: 'CREDIT, CANCEL, INPUT, DETACH and RATE for a stream that is over, or never was, are ignored.',
    hint: 'They may have crossed with the END.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'say', { texts: [] })
      await peer.next('end', 1)
      for (const sid of [1, 9]) {
        peer.send({ kind: 'credit', sid, n: 1 }, { kind: 'cancel', sid, code: 1 }, { kind: 'detach', sid })
        peer.send({ kind: 'rate', sid, perSec: 1 }, { kind: 'input', sid, mid: 'm', type: 'message', data: 1 })
      }
      await peer.settled()
      peer.start(2, 'say', { texts: ['still here'] })
      await peer.next('end', 2)
      same(peer.text(2), 'still here', 'the text of a later run')
    },
  },
  {
    name: 'detach',
    level: 'minimal',
    section: 'DETACH',
    rule: 'DETACH ends the subscription: no frame with that sid comes behind it, and no END answers it.',
    hint: 'The run goes on.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 1_000 }, { credit: 5, onDetach: 'cancel', detachMs: 1 })
      await peer.untilCount(1, 5)
      peer.send({ kind: 'detach', sid: 1 })
      await peer.settled()
      const before = peer.frames.length
      peer.send({ kind: 'credit', sid: 1, n: 20 })
      await peer.quiet()
      const after = peer.frames.slice(before).find((frame) => 'sid' in frame && frame.sid === 1)
      must(after === undefined, 'nothing of a stream that was detached', after ? frameWords(after) : '')
    },
  },
  {
    name: 'key',
    level: 'minimal',
    section: 'Keys',
    rule: 'The same key with the same input is that run, from its first item, with reused true.',
    hint: 'Keep the SHA-256 of the input as it arrived, for each principal, actor and key.',
    async run(bench) {
      const key = keyOf('key')
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 3 }, { key })
      const { run } = await peer.opened(1)
      await peer.next('end', 1)
      peer.start(2, 'count', { to: 3 }, { key })
      const again = await peer.opened(2)
      same(
        { run: again.run, reused: again.reused, next: again.next },
        { run, reused: true, next: 1 },
        'the run of the key',
      )
      await peer.next('end', 2)
      same(peer.text(2), peer.text(1), 'the text of the same run')
    },
  },
  {
    name: 'key-conflict',
    level: 'minimal',
    section: 'Keys',
    rule: 'The same key with other input bytes is refused with key_conflict.',
    hint: 'Compare the SHA-256 of the bytes of the input, and not what it means.',
    async run(bench) {
      const key = keyOf('conflict')
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 3 }, { key })
      await peer.next('end', 1)
      peer.start(2, 'count', { to: 4 }, { key })
      await peer.refusal(2, 'key_conflict')
    },
  },
  {
    name: 'key-kinds',
    level: 'minimal',
    section: 'START',
    rule: 'A bin and a str are never the same key.',
    hint: 'Keep which of the two a key is.',
    async run(bench) {
      const key = keyOf('kinds')
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 3 }, { key })
      peer.start(2, 'count', { to: 3 }, { key: new Uint8Array(Buffer.from(key)) })
      const [first, second] = [await peer.opened(1), await peer.opened(2)]
      must(first.run !== second.run, 'two runs', 'one run for both keys')
    },
  },
  {
    name: 'key-free',
    level: 'minimal',
    section: 'Keys',
    rule: 'A key is free endedMs after the end of its run.',
    hint: 'Forget key, log and end together.',
    async run(bench) {
      const key = keyOf('free')
      await using peer = await bench.connect()
      peer.start(1, 'say', { texts: [] }, { key })
      const { run } = await peer.opened(1)
      await peer.next('end', 1)
      await bench.pause(REFERENCE_LIMITS.endedMs + 500)
      peer.start(2, 'say', { texts: [] }, { key })
      must((await peer.opened(2)).run !== run, 'a new run', 'the run that ended before')
    },
  },
  {
    name: 'other-principal',
    level: 'minimal',
    section: 'Rights',
    rule: 'A run of another principal is answered with not_found, as one that does not exist.',
    hint: 'Do not tell the two cases apart, in code or message.',
    async run(bench) {
      const auth = needed(bench.otherToken, 'no --other-token was given: a token of another principal')
      await using peer = await bench.connect()
      peer.start(1, 'say', { texts: ['secret'] })
      const { run } = await peer.opened(1)
      await peer.next('end', 1)
      await using other = await bench.connect({ auth })
      other.attach(1, run, 0)
      const mine = await other.refusal(1, 'not_found')
      other.attach(2, 'r_verify_no_such_run', 0)
      const none = await other.refusal(2, 'not_found')
      same(mine.data, none.data, 'the same answer as for a run that does not exist')
    },
  },
]

function keyOf(name: string): string {
  return `${name}-${Math.random()}`
}
