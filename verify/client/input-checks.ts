import { same } from '../mismatch.ts'
import { comesBack, completes, done, reading, texts } from './scenario.ts'
import type { ClientCheck } from './stage.ts'

export const inputChecks: readonly ClientCheck[] = [
  {
    name: 'input',
    level: 'full',
    section: 'INPUT',
    rule: 'The client sends an input under a mid of its own, and INPUT_ACK answers it.',
    hint: 'Status 0 is accepted.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!send'))
      const input = await seat.next('input')
      same([input.sid, input.type, input.data], [sid, 'message', 'hello'], 'sid, type and data of INPUT')
      seat.send({ kind: 'input_ack', sid, mid: input.mid, status: 'accepted' })
      await stage.line((line) => line.sent === 'accepted', '{"sent": "accepted"}')
      seat.send(done(sid, 2))
      await completes(stage, '!send')
    },
  },
  {
    name: 'input-refused',
    level: 'full',
    section: 'INPUT_ACK',
    rule: 'An input with another status than 0 and 1 was not accepted.',
    hint: 'Tell the application that sent it.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!send'))
      const { mid } = await seat.next('input')
      seat.send({ kind: 'input_ack', sid, mid, status: 'invalid' })
      await stage.line((line) => line.sent === 'refused', '{"sent": "refused"}')
      seat.send(done(sid, 2))
      await completes(stage, '!send')
    },
  },
  {
    name: 'input-again',
    level: 'full',
    section: "The client's state table",
    rule: 'An input without an answer is sent again after a reconnect, with the mid that it had.',
    hint: 'The run takes an input once per mid: 1, duplicate, means accepted.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!send'))
      const input = await seat.next('input')
      seat.cut()
      const { back, attach } = await comesBack(stage)
      const again = await back.next('input')
      same([midWords(again.mid), again.data], [midWords(input.mid), 'hello'], 'mid and data of the second INPUT')
      back.send({ kind: 'input_ack', sid: attach.sid, mid: again.mid, status: 'duplicate' })
      await stage.line((line) => line.sent === 'accepted', '{"sent": "accepted"}')
      back.send(done(attach.sid, 2))
      await completes(stage, '!send')
    },
  },
  {
    name: 'input-unknown',
    level: 'full',
    section: "The client's state table",
    rule: 'When a stream closes, an input without INPUT_ACK is reported as unknown.',
    hint: 'It may have been accepted, and it may not.',
    async run(bench) {
      await using run = await reading(bench)
      const { stage, seat, sid } = run
      seat.send(texts(sid, 1, '!send'))
      await seat.next('input')
      seat.send(done(sid, 2))
      await stage.line((line) => line.sent === 'unknown', '{"sent": "unknown"}')
    },
  },
]

function midWords(mid: Uint8Array | string): string {
  return typeof mid === 'string' ? mid : Buffer.from(mid).toString('hex')
}
