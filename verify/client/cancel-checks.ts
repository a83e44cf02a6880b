import { EVENT } from '../../protocol/events.ts'
import { must, same } from '../mismatch.ts'
import { cancelled, comesBack, completes, done, reading, texts } from './scenario.ts'
import { RUN } from './seat.ts'
import type { ClientCheck } from './stage.ts'

export const cancelChecks: readonly ClientCheck[] = [
  {
    name: 'cancel',
    level: 'cancel',
    section: 'CANCEL',
    rule: 'To stop a run the client sends CANCEL, and waits for END.',
    hint: 'A user who pressed stop is reason 1. END with outcome 2 confirms it.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!cancel'))
      const frame = await seat.next('cancel')
      same([frame.sid, frame.code, frame.target ?? null], [sid, 1, null], 'sid, code and target of CANCEL')
      must(!stage.lines.some(({ end }) => end !== undefined), 'no end before END', 'an end')
      seat.send(cancelled(sid, 2))
      await stage.line((line) => line.cancel === 'cancelled', '{"cancel": "cancelled"}')
      same((await stage.end()).end, 'cancelled', 'the end that the client printed')
    },
  },
  {
    name: 'cancel-too-late',
    level: 'cancel',
    section: "The client's state table",
    rule: 'A run that has ended by itself before the CANCEL is not cancelled: its outcome is that of END.',
    hint: 'The first outcome logged wins.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!cancel'))
      await seat.next('cancel')
      seat.send(done(sid, 2))
      await stage.line((line) => line.cancel === 'done', '{"cancel": "done"}')
    },
  },
  {
    name: 'cancel-ends-reading',
    level: 'cancel',
    section: "The client's state table",
    rule: 'From the CANCEL on, the consumer reads nothing more, and no CREDIT is sent.',
    hint: 'The queue is dropped. The server skips what it had not sent.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!cancel', 'b', 'c', 'd', 'e', 'f'))
      await seat.next('cancel')
      const before = seat.credit
      seat.send(texts(sid, 7, 'g', 'h'))
      await seat.quiet()
      same(seat.credit, before, 'the CREDIT behind CANCEL')
      seat.send(cancelled(sid, 9))
      await stage.end()
      same(stage.text, '!cancel', 'the text that the client printed')
    },
  },
  {
    name: 'cancel-after-loss',
    level: 'cancel',
    section: "The client's state table",
    rule: 'A CANCEL without an answer is sent again when the connection comes back.',
    hint: 'Stop means stopped: ATTACH to the run, and send the wish behind it.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!cancel'))
      await seat.next('cancel')
      seat.cut()
      const { back, attach } = await comesBack(stage)
      same(attach.run, RUN, 'the run of ATTACH')
      same((await back.next('cancel')).sid, attach.sid, 'the sid of CANCEL')
      back.send(cancelled(attach.sid, 2))
      await stage.line((line) => line.cancel === 'cancelled', '{"cancel": "cancelled"}')
    },
  },
  {
    name: 'cancel-call',
    level: 'cancel',
    section: 'Cancel a target',
    rule: 'To stop one tool call the client sends CANCEL with its id, and goes on reading.',
    hint: 'The tool.result of that call answers it, whatever its outcome.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send({ kind: 'event', sid, seq: 1, type: EVENT.toolCall, data: { call: 'c1', name: 'wait' }, cost: 1 })
      seat.send(texts(sid, 2, '!cancel-call'))
      same((await seat.next('cancel')).target, { type: 'call', id: 'c1' }, 'the target of CANCEL')
      const receipt = { code: 1, by: 'client', settled: true, ms: 1 }
      const data = { call: 'c1', outcome: 2, ms: 5, receipt }
      seat.send({ kind: 'event', sid, seq: 3, type: EVENT.toolResult, data, cost: 1 }, texts(sid, 4, 'b'))
      await stage.line((line) => line.cancel === 'cancelled', '{"cancel": "cancelled"}')
      seat.send(done(sid, 5))
      await completes(stage, '!cancel-callb')
    },
  },
  {
    name: 'cancel-call-again',
    level: 'cancel',
    section: 'Cancel a target',
    rule: 'A CANCEL of a target is repeated after a reconnect, until it has an answer.',
    hint: 'A NOTICE not_found with that target is an answer as well.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!cancel-call'))
      await seat.next('cancel')
      seat.cut()
      const { back, attach } = await comesBack(stage)
      same((await back.next('cancel')).target, { type: 'call', id: 'c1' }, 'the target of CANCEL')
      const ref = { tag: 5, sid: attach.sid, detail: ['call', 'c1'] }
      back.send({ kind: 'notice', code: 'not_found', message: 'no such call', ref })
      await stage.line((line) => line.cancel === 'not_found', '{"cancel": "not_found"}')
      back.send(done(attach.sid, 2))
      await completes(stage, '!cancel-call')
    },
  },
]
