import { EVENT } from '../../protocol/events.ts'
import type { Cancel, End } from '../../protocol/frames.ts'
import { TAG } from '../../protocol/frames.ts'
import { frameWords } from '../frame-words.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import type { Peer } from './peer.ts'

const { cancelGraceMs } = REFERENCE_LIMITS
/** How late a server may cancel a run that nobody reads. It is to be found before endedMs is over. */
const LATE_MS = 1_500

export const cancelChecks: readonly ServerCheck[] = [
  {
    name: 'cancel',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'CANCEL ends the run at once with outcome 2.',
    hint: 'Abort the signal of the actor, whatever it waits for.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent')
      await peer.opened(1)
      peer.send({ kind: 'cancel', sid: 1, code: 1 })
      await cancelled(peer)
    },
  },
  {
    name: 'receipt',
    level: 'cancel',
    section: 'Receipt',
    rule: 'The END of a cancelled run has a receipt: reason, who, note, what settled, what was kept, and the time.',
    hint: 'Every key without "?" must be there.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 10_000 }, { credit: 3 })
      await peer.untilCount(1, 3)
      peer.send({ kind: 'cancel', sid: 1, code: 1, note: 'enough' })
      const { seq, data } = await cancelled(peer)
      const { ms, ...receipt } = data
      must(typeof ms === 'number', 'a number for ms', JSON.stringify(ms ?? null))
      const expected = {
        code: 1,
        by: 'client',
        note: 'enough',
        settled: true,
        unsettled: [],
        provider: 'none',
        tools: [],
        kept: seq - 1,
      }
      for (const [key, value] of Object.entries(expected)) same(receipt[key], value, `${key} of the receipt`)
    },
  },
  {
    name: 'cancel-passes-items',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'The subscription that sent CANCEL skips its unsent items: END comes next and needs no credit.',
    hint: 'END keeps its number, which is the one behind the last item of the log.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'count', { to: 10_000 }, { credit: 3 })
      await peer.untilCount(1, 3)
      await peer.quiet()
      peer.send({ kind: 'cancel', sid: 1 })
      await cancelled(peer)
      same(peer.count(1), 3, 'the number of items')
    },
  },
  {
    name: 'cancel-silences',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'Nothing that the actor says behind the CANCEL is logged.',
    hint: 'An actor that is slow to stop goes on talking: drop it.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'babble', null, { credit: 64 })
      const { run } = await peer.opened(1)
      await peer.untilCount(1, 1)
      peer.send({ kind: 'cancel', sid: 1 })
      const { seq, data } = await cancelled(peer)
      peer.attach(2, run, 0, { credit: 64 })
      const whole = await peer.next('end', 2)
      same([whole.seq, whole.outcome], [seq, 'cancelled'], 'the end of the log')
      same(peer.count(2), data['kept'], 'the number of items in the log')
      const late = peer.items(2).some(({ text }) => text === 'late')
      must(!late, 'no text from behind the cancel', '"late"')
    },
  },
  {
    name: 'cancel-grace',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'An actor that does not stop delays the end by cancelGraceMs, and the receipt names it.',
    hint: 'Then settled is false, and unsettled has "actor". The run keeps its slot until the actor has finished.',
    async run(bench) {
      await using peer = await bench.connect()
      const longestMs = cancelGraceMs + bench.lateMs
      peer.start(1, 'stubborn', { ms: longestMs })
      await peer.opened(1)
      const begun = performance.now()
      peer.send({ kind: 'cancel', sid: 1 })
      const { data } = await cancelled(peer)
      const ms = Math.round(performance.now() - begun)
      // A clock may be a little ahead of another.
      must(ms >= cancelGraceMs - 50, `END no sooner than ${cancelGraceMs} ms behind CANCEL`, `END after ${ms} ms`)
      must(ms < longestMs, `END about ${cancelGraceMs} ms behind CANCEL`, `END after ${ms} ms`)
      same([data['settled'], data['unsettled']], [false, ['actor']], 'settled and unsettled')
    },
  },
  {
    name: 'cancel-twice',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'CANCEL of a run that is settling or has ended changes nothing: the first reason counts, and there is one END.',
    hint: 'The first outcome logged wins.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'stubborn', { ms: 100 })
      await peer.opened(1)
      peer.send({ kind: 'cancel', sid: 1, code: 2 })
      peer.send({ kind: 'cancel', sid: 1, code: 4 })
      const { data } = await cancelled(peer)
      same(data['code'], 2, 'the reason')
      peer.send({ kind: 'cancel', sid: 1, code: 4 })
      await peer.quiet()
      same(peer.frames.filter(({ kind }) => kind === 'end').length, 1, 'the number of ENDs')
    },
  },
  {
    name: 'cancel-before-opened',
    level: 'cancel',
    section: 'Cancel a run',
    rule: 'A CANCEL in the same message as its START ends the run.',
    hint: 'A run may be cancelled before its actor has begun.',
    async run(bench) {
      await using peer = await bench.connect()
      const cancel: Cancel = { kind: 'cancel', sid: 1, code: 3 }
      peer.send({ kind: 'start', sid: 1, actor: 'silent', input: null, options: {} }, cancel)
      same((await cancelled(peer)).data['code'], 3, 'the reason')
    },
  },
  {
    name: 'cancel-reasons',
    level: 'cancel',
    section: 'Cancel reasons',
    rule: 'A reason that the server does not know comes back in the receipt, and one above 255 as 255.',
    hint: 'Keep the number. An absent one is 0.',
    async run(bench) {
      await using peer = await bench.connect()
      for (const [sid, [code, back]] of [
        [77, 77],
        [300, 255],
        [undefined, 0],
      ].entries()) {
        peer.start(sid + 1, 'silent')
        peer.send({ kind: 'cancel', sid: sid + 1, ...(code !== undefined && { code }) })
        same((await peer.next('end', sid + 1)).data['code'], back, `the reason for ${code ?? 'none'}`)
      }
    },
  },
  {
    name: 'cancel-elsewhere',
    level: 'cancel',
    section: 'Rights',
    rule: 'Any connection of the principal may cancel, and every reader sees the same end.',
    hint: 'A run belongs to a principal, and not to a socket.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent')
      const { run } = await peer.opened(1)
      await using other = await bench.connect()
      other.attach(1, run, 0)
      await other.opened(1)
      other.send({ kind: 'cancel', sid: 1, code: 1 })
      const [mine, its] = [await cancelled(peer), await cancelled(other)]
      same(mine.data, its.data, 'the same receipt')
    },
  },
  {
    name: 'loss-is-no-cancel',
    level: 'cancel',
    section: 'Cancelling',
    rule: 'No close code and no disconnect cancels a run.',
    hint: 'A connection that ends detaches its runs.',
    async run(bench) {
      const peer = await bench.connect()
      peer.start(1, 'silent')
      const { run } = await peer.opened(1)
      await peer.cut()
      // A server that has not noticed the loss cancels nothing yet.
      await bench.pause(LATE_MS)
      await using back = await bench.connect()
      back.attach(1, run, 0)
      await back.opened(1)
      await back.quiet()
      const end = back.frames.find((frame) => frame.kind === 'end')
      must(end === undefined, 'a run that goes on', end ? frameWords(end) : '')
      back.send({ kind: 'cancel', sid: 1 })
      await cancelled(back)
    },
  },
  {
    name: 'on-detach-cancel',
    level: 'cancel',
    section: 'Detached runs',
    rule: 'A run with onDetach "cancel" is cancelled when nobody came back within detachMs, with reason 5 by the server.',
    hint: 'An ATTACH by the principal stops the clock; observers do not.',
    async run(bench) {
      const peer = await bench.connect()
      peer.start(1, 'silent', null, { onDetach: 'cancel', detachMs: 200 })
      const { run } = await peer.opened(1)
      await peer.cut()
      await bench.pause(200 + LATE_MS)
      await using back = await bench.connect()
      back.attach(1, run, 0)
      const { data } = await cancelled(back)
      same([data['code'], data['by']], [5, 'server'], 'reason and side of the receipt')
    },
  },
  {
    name: 'deadline',
    level: 'cancel',
    section: 'States of a run',
    rule: 'A run that has reached its timeoutMs is stopped, and ends with the error timeout.',
    hint: 'The deadline stands still while the gate is closed or the run waits for people.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent', null, { timeoutMs: 200 })
      const { outcome, data } = await peer.next('end', 1)
      same([outcome, data['code']], ['error', 'timeout'], 'the outcome and code of END')
    },
  },
  {
    name: 'cancel-call',
    level: 'cancel',
    section: 'Cancel a target',
    rule: 'CANCEL with a tool call as target ends that call, and the run goes on.',
    hint: 'Its tool.result has outcome 2 and a target receipt.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'tool')
      const call = await callOf(peer)
      peer.send({ kind: 'cancel', sid: 1, code: 1, target: { type: 'call', id: call } })
      const end = await peer.next('end', 1)
      same(end.outcome, 'done', 'the outcome of the run')
      const result = peer.items(1).find(({ type }) => type === EVENT.toolResult)?.data as ToolResult | undefined
      must(result !== undefined, 'a tool.result', 'none')
      same([result.call, result.outcome], [call, 2], 'call and outcome of the tool.result')
      const { code, by, settled } = result.receipt ?? {}
      same([code, by, settled], [1, 'client', true], 'code, by and settled of its receipt')
      same(peer.text(1), 'after', 'the text behind the call')
    },
  },
  {
    name: 'cancel-unknown-call',
    level: 'cancel',
    section: 'Cancel a target',
    rule: 'CANCEL of a target that is not there is answered by NOTICE not_found, and the run goes on.',
    hint: 'Its ref names the tag of CANCEL, the sid and the target.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent')
      await peer.opened(1)
      peer.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'c9' } })
      const { code, ref } = await peer.next('notice')
      same([code, ref?.tag, ref?.sid, ref?.detail], ['not_found', TAG.cancel, 1, ['call', 'c9']], 'code and ref')
      peer.send({ kind: 'cancel', sid: 1 })
      await cancelled(peer)
    },
  },
  {
    name: 'cancel-stops-tools',
    level: 'cancel',
    section: 'Receipt',
    rule: 'The receipt names the tool calls that were stopped.',
    hint: 'Abort their signals together with that of the run.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'tool')
      const call = await callOf(peer)
      peer.send({ kind: 'cancel', sid: 1 })
      const { data } = await cancelled(peer)
      same([data['tools'], data['settled']], [[call], true], 'tools and settled of the receipt')
    },
  },
  {
    name: 'cancel-child',
    level: 'cancel',
    section: 'Children',
    rule: 'CANCEL with a sub-agent as target ends that child, and its parent goes on.',
    hint: 'The agent.end comes when it has ended, with outcome 2. The id of the agent is that of its run.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'parent')
      await peer.until(() => peer.items(1).some(({ type }) => type === EVENT.agentStart), 'agent.start')
      const { agent } = peer.items(1).find(({ type }) => type === EVENT.agentStart)!.data as { agent: string }
      peer.send({ kind: 'cancel', sid: 1, target: { type: 'agent', id: agent } })
      const end = await peer.next('end', 1)
      same(end.outcome, 'done', 'the outcome of the parent')
      const ended = peer.items(1).find(({ type }) => type === EVENT.agentEnd)?.data as ToolResult & { agent?: string }
      same([ended?.agent, ended?.outcome], [agent, 2], 'agent and outcome of the agent.end')
      same(peer.text(1), 'after', 'the text behind the child')
    },
  },
]

type ToolResult = { call?: string; outcome?: number; receipt?: { code?: number; by?: string; settled?: boolean } }

/** END with outcome 2. */
async function cancelled(peer: Peer, sid = 1): Promise<End> {
  const end = await peer.next('end', sid)
  must(end.outcome === 'cancelled', 'END with outcome 2', frameWords(end))
  return end
}

/** The id of the tool call that a run has begun. */
async function callOf(peer: Peer): Promise<string> {
  await peer.until(() => peer.items(1).some(({ type }) => type === EVENT.toolCall), 'tool.call')
  return (peer.items(1).find(({ type }) => type === EVENT.toolCall)!.data as { call: string }).call
}
