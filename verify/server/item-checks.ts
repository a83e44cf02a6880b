import { EVENT } from '../../protocol/events.ts'
import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'

const { creditUnit } = REFERENCE_LIMITS

export const itemChecks: readonly ServerCheck[] = [
  {
    name: 'items',
    level: 'minimal',
    section: 'Items',
    rule: 'Items are numbered 1, 2, 3, ..., and END takes the number behind the last.',
    hint: 'Number an item once, when it is logged. A DELTA with an array numbers one item for each text.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 40 }, { credit: 64 })
      const end = await peer.next('end', 1)
      let next = 1
      for (const { seq, count } of peer.items(1)) {
        must(seq === next, `item ${next}`, `item ${seq}`)
        next = seq + count
      }
      same(end.seq, next, 'the number of END')
    },
  },
  {
    name: 'texts',
    level: 'minimal',
    section: 'DELTA',
    rule: 'Each text arrives once, in order, on lane 0.',
    hint: 'Plain text of the run itself is lane 0, which is never started or ended.',
    async run(bench) {
      await using peer = await bench.connect()
      const texts = ['one ', 'zwei ', 'drei\n', '四 ', '🙂']
      peer.start(1, 'say', { texts })
      await peer.next('end', 1)
      const items = peer.items(1).map(({ text, lane }) => [text, lane])
      same(
        items,
        texts.map((text) => [text, 0]),
        'the texts with their lanes',
      )
    },
  },
  {
    name: 'empty-text',
    level: 'minimal',
    section: 'Items',
    rule: 'Empty text is not logged.',
    hint: 'It takes no number.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'say', { texts: ['a', '', 'b'] })
      same((await peer.next('end', 1)).seq, 3, 'the number of END behind two texts')
    },
  },
  {
    name: 'long-text',
    level: 'minimal',
    section: 'Items',
    rule: 'Text is cut at code points into items of at most creditUnit bytes.',
    hint: 'Count bytes of UTF-8, and keep a code point whole.',
    async run(bench) {
      await using peer = await bench.connect()
      const text = '🙂'.repeat(creditUnit)
      peer.start(1, 'say', { texts: [`a${text}`] }, { credit: 64 })
      await peer.next('end', 1)
      const longest = Math.max(...peer.items(1).map((item) => Buffer.byteLength(item.text ?? '')))
      must(longest <= creditUnit, `items of at most ${creditUnit} bytes`, `one of ${longest} bytes`)
      must(peer.text(1) === `a${text}`, 'the whole text', `${peer.text(1).length} characters of another text`)
    },
  },
  {
    name: 'end-once',
    level: 'minimal',
    section: 'END',
    rule: 'After END no frame with that sid comes.',
    hint: 'A NOTICE that refers to it may still come.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 5 })
      const end = await peer.next('end', 1)
      peer.send({ kind: 'credit', sid: 1, n: 8 })
      await peer.quiet()
      const after = peer.frames.slice(peer.frames.indexOf(end) + 1).find((one) => 'sid' in one && one.sid === 1)
      must(after === undefined, 'nothing behind END', after ? frameWords(after) : '')
    },
  },
  {
    name: 'end-data',
    level: 'minimal',
    section: 'END',
    rule: 'END of a run that is done says how many milliseconds it took, and has its result if there is one.',
    hint: 'The data of outcome 0 are ms, and result, usage, stop and iterations where there are some.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 3 })
      const { outcome, data } = await peer.next('end', 1)
      same(outcome, 'done', 'the outcome')
      must(typeof data['ms'] === 'number', 'a number for ms', JSON.stringify(data['ms'] ?? null))
      same(data['result'], { counted: 3 }, 'the result')
    },
  },
  {
    name: 'failure',
    level: 'minimal',
    section: 'Error codes',
    rule: 'An actor that fails ends as actor_failed, and the message does not say what it threw.',
    hint: 'What an actor throws may hold secrets: report it to the operator.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'fail', { message: 'verify-secret' })
      const end = await peer.next('end', 1)
      must(end.outcome === 'error', 'END with outcome 1', frameWords(end))
      same(end.data['code'], 'actor_failed', 'the code')
      same(end.data['retryable'], false, 'retryable')
      must(!JSON.stringify(end.data).includes('verify-secret'), 'no word of the error', frameWords(end))
    },
  },
  {
    name: 'times',
    level: 'minimal',
    section: 'DELTA',
    rule: 'With ts true, DELTA and EVENT carry the time of their first item; otherwise they carry none.',
    hint: 'The time is that of the logging, in epoch milliseconds.',
    async run(bench) {
      await using peer = await bench.connect()
      const from = peer.frames.find((frame) => frame.kind === 'welcome')!.now
      peer.start(1, 'say', { texts: ['a'] }, { ts: true })
      peer.start(2, 'say', { texts: ['a'] })
      await peer.next('end', 1)
      await peer.next('end', 2)
      const timed = await peer.next('delta', 1)
      must(
        timed.ts !== undefined && Math.abs(timed.ts - from) < 60_000,
        'a time near that of WELCOME',
        String(timed.ts),
      )
      same((await peer.next('delta', 2)).ts, undefined, 'no time without ts')
    },
  },
  {
    name: 'lanes',
    level: 'minimal',
    section: 'Lanes',
    rule: 'A lane.start event declares a lane before text names it, and lane.end closes it.',
    hint: 'Thinking is text on a lane of its own, of type thinking.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'think')
      await peer.next('end', 1)
      const items = peer.items(1)
      const start = items.find(({ type }) => type === EVENT.laneStart)
      const { lane, type } = (start?.data ?? {}) as { lane?: number; type?: string }
      must(
        start !== undefined && lane !== undefined && lane > 0,
        'a lane.start with a lane above 0',
        JSON.stringify(items[0]),
      )
      same(type, 'thinking', 'the type of the lane')
      const said = items.filter(({ text }) => text !== undefined).map((item) => [item.lane, item.text])
      same(
        said,
        [
          [lane, 'why'],
          [0, 'because'],
        ],
        'the texts with their lanes',
      )
      const ended = items.some((item) => item.type === EVENT.laneEnd && (item.data as { lane?: number }).lane === lane)
      must(ended, `a lane.end of lane ${lane}`, 'none')
    },
  },
]
