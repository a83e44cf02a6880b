import { EVENT } from '../../protocol/events.ts'
import { type InputAck, type Listed, TAG, type WireMap } from '../../protocol/frames.ts'
import { must, same } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'
import type { ServerCheck } from './bench.ts'
import { needed, type Peer } from './peer.ts'

const { maxInputs, maxCredit } = REFERENCE_LIMITS

export const fullChecks: readonly ServerCheck[] = [
  {
    name: 'input',
    level: 'full',
    section: 'Inputs',
    rule: 'An interactive actor gets each message once, in order, after it was accepted.',
    hint: 'INPUT_ACK with status 0 says that it was accepted.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'echo')
      await peer.opened(1)
      for (const text of ['one', 'two']) same(await send(peer, text, 'message', text), 'accepted', 'the status')
      await peer.untilCount(1, 2)
      same(
        peer.items(1).map(({ text }) => text),
        ['one', 'two'],
        'the texts',
      )
      await stop(peer)
    },
  },
  {
    name: 'input-twice',
    level: 'full',
    section: 'Inputs',
    rule: 'A run takes an input once per mid: its repetition gets status 1.',
    hint: 'Remember at least the last 1,024 of a run, over connections.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'echo')
      const { run } = await peer.opened(1)
      same(await send(peer, 'm', 'message', 'once'), 'accepted', 'the status')
      same(await send(peer, 'm', 'message', 'once'), 'duplicate', 'the status of the repetition')
      await using other = await bench.connect()
      other.attach(1, run, null)
      await other.opened(1)
      same(await send(other, 'm', 'message', 'once'), 'duplicate', 'the status on another connection')
      await peer.quiet()
      same(peer.text(1), 'once', 'the text')
      await stop(peer)
    },
  },
  {
    name: 'input-invalid',
    level: 'full',
    section: 'Inputs',
    rule: 'An actor that is not interactive answers a message with status 3.',
    hint: 'Only answers to its own requests reach such an actor.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent')
      await peer.opened(1)
      same(await send(peer, 'm', 'message', 'hello'), 'invalid', 'the status')
      await stop(peer)
    },
  },
  {
    name: 'input-busy',
    level: 'full',
    section: 'Inputs',
    rule: 'At most maxInputs inputs wait for an actor: a further one gets status 4.',
    hint: 'The sender tries again under a new mid.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'deaf')
      await peer.opened(1)
      for (let n = 0; n < maxInputs; n++) same(await send(peer, `m${n}`, 'message', n), 'accepted', 'the status')
      same(await send(peer, 'more', 'message', 0), 'busy', `the status behind ${maxInputs} inputs`)
      await stop(peer)
    },
  },
  {
    name: 'answer',
    level: 'full',
    section: 'Inputs',
    rule: 'The first answer to a request wins, and a second one gets status 2.',
    hint: 'A request is open until its first answer.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'ask')
      const { request } = (await event(peer, EVENT.inputRequest)) as { request: string }
      same(await send(peer, 'a', 'answer', { request: 'q-none', value: 1 }), 'unwanted', 'the status of a wrong id')
      peer.send(
        { kind: 'input', sid: 1, mid: 'b', type: 'answer', data: { request, value: 'Ada' } },
        { kind: 'input', sid: 1, mid: 'c', type: 'answer', data: { request, value: 'Bob' } },
      )
      same([await ack(peer, 'b'), await ack(peer, 'c')], ['accepted', 'unwanted'], 'the statuses of two answers')
      await peer.next('end', 1)
      same(peer.text(1), 'hello Ada', 'the text')
    },
  },
  {
    name: 'approve',
    level: 'full',
    section: 'Inputs',
    rule: 'A tool that needs approval asks with kind approve and its call, and runs when the answer is ok.',
    hint: 'An approval without a boolean ok gets status 3.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'tool', { approve: true })
      const { kind, call } = (await event(peer, EVENT.inputRequest)) as { kind: string; call: string }
      same(kind, 'approve', 'the kind of the request')
      same(await send(peer, 'a', 'approve', { call }), 'invalid', 'the status without ok')
      same(await send(peer, 'b', 'approve', { call, ok: true }), 'accepted', 'the status with ok')
      await peer.next('end', 1)
      const result = (await event(peer, EVENT.toolResult)) as { call: string; outcome: number }
      same([result.call, result.outcome], [call, 0], 'call and outcome of the tool.result')
    },
  },
  {
    name: 'refuse',
    level: 'full',
    section: 'Inputs',
    rule: 'A tool that is refused does not run: its tool.result has outcome 1.',
    hint: 'Everything but ok true refuses.',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'tool', { approve: true })
      const { call } = (await event(peer, EVENT.inputRequest)) as { call: string }
      same(await send(peer, 'a', 'approve', { call, ok: false }), 'accepted', 'the status')
      await peer.next('end', 1)
      same(((await event(peer, EVENT.toolResult)) as { outcome: number }).outcome, 1, 'the outcome of the tool.result')
    },
  },
  {
    name: 'merge',
    level: 'full',
    section: 'Policies',
    rule: 'With policy merge, text of one lane that waits is one DELTA with count, at the cost of its items.',
    hint: 'Its count says how many items the text is of, and the next item follows behind them.',
    async run(bench) {
      await using peer = await bench.connect()
      await reread(peer, 'merge')
      await peer.untilCount(2, 20)
      await peer.quiet()
      same(peer.count(2), 20, 'the number of items within a credit of 20')
      must(peer.items(2).length < 20, 'fewer texts than items', `${peer.items(2).length} texts`)
      peer.send({ kind: 'credit', sid: 2, n: 20 })
      await peer.next('end', 2)
      same(peer.text(2), peer.text(1), 'the text')
    },
  },
  {
    name: 'latest',
    level: 'full',
    section: 'Policies',
    rule: 'With policy latest, the newest item comes, and a GAP with reason 1 reports those passed over.',
    hint: 'The GAP comes when the next item could be sent.',
    async run(bench) {
      await using peer = await bench.connect()
      await reread(peer, 'latest')
      const end = await peer.next('end', 2)
      const gap = await peer.next('gap', 2)
      const [item, ...others] = peer.items(2)
      same([gap.reason, gap.next], ['policy', 30], 'reason and next of GAP')
      same([item?.seq, others.length, end.seq], [30, 0, 31], 'the item, the others, and END')
    },
  },
  {
    name: 'list',
    level: 'full',
    section: 'Lists',
    rule: 'LIST is answered by the runs of the principal in the order in which they began, and a mark.',
    hint: 'LISTED without a run is the mark, and the end of the stream without watch.',
    feature: 'runs',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent', null, { meta: { page: 'a' }, onDetach: 'cancel', detachMs: 1 })
      peer.start(2, 'say', { texts: ['x'] })
      const [live, over] = [await peer.opened(1), await peer.opened(2)]
      await peer.next('end', 2)
      peer.send({ kind: 'list', sid: 3 })
      await mark(peer, 3)
      const listed = listedRuns(peer, 3)
      const [first, second] = [listed.indexOf(live.run), listed.indexOf(over.run)]
      must(first >= 0 && second > first, 'both runs, in the order in which they began', JSON.stringify(listed))
      const info = infoOf(peer, 3, live.run)
      same([info['actor'], info['meta']], ['silent', { page: 'a' }], 'actor and meta of the live run')
      const ended = infoOf(peer, 3, over.run)
      same(
        [ended['state'], ended['outcome'], ended['seq']],
        ['ended', 'done', 1],
        'state, outcome and seq of the ended run',
      )
    },
  },
  {
    name: 'list-watch',
    level: 'full',
    section: 'Lists',
    rule: 'With watch, a run is sent again when it begins and when its state changes, until DETACH.',
    hint: 'Changes that are sent together end with one mark.',
    feature: 'runs',
    async run(bench) {
      await using peer = await bench.connect()
      peer.send({ kind: 'list', sid: 1, watch: true })
      await mark(peer, 1)
      peer.start(2, 'silent')
      const { run } = await peer.opened(2)
      await peer.until(() => listedRuns(peer, 1).includes(run), 'LISTED of the run that began')
      peer.send({ kind: 'cancel', sid: 2 })
      await peer.next('end', 2)
      await peer.until(() => infoOf(peer, 1, run)['state'] === 'ended', 'LISTED with the state ended')
      peer.send({ kind: 'detach', sid: 1 })
      await peer.settled()
      const before = listedRuns(peer, 1).length
      peer.start(3, 'say', { texts: [] })
      await peer.next('end', 3)
      await peer.quiet()
      same(listedRuns(peer, 1).length, before, 'the number of LISTED behind DETACH')
    },
  },
  {
    name: 'list-principal',
    level: 'full',
    section: 'Lists',
    rule: 'A list has no run of another principal.',
    hint: 'Whatever its rights: a list is what is the own.',
    feature: 'runs',
    async run(bench) {
      const auth = needed(bench.otherToken, 'no --other-token was given: a token of another principal')
      await using peer = await bench.connect()
      peer.start(1, 'silent', null, { onDetach: 'cancel', detachMs: 1 })
      const { run } = await peer.opened(1)
      await using other = await bench.connect({ auth })
      other.send({ kind: 'list', sid: 1 })
      await mark(other, 1)
      must(!listedRuns(other, 1).includes(run), 'a list without the run of another principal', run)
    },
  },
  {
    name: 'govern',
    level: 'full',
    section: 'Governing a run',
    rule: 'The input govern is for the run itself, also of an actor that is not interactive; an order with an unknown key gets 3.',
    hint: 'A notice event with the code paused, resumed or governed tells the readers.',
    feature: 'govern',
    async run(bench) {
      await using peer = await bench.connect()
      peer.start(1, 'silent')
      await peer.opened(1)
      same(await send(peer, 'a', 'govern', { paused: true }), 'accepted', 'the status')
      const { code } = (await event(peer, EVENT.notice)) as { code: string }
      same(code, 'paused', 'the code of the notice')
      same(await send(peer, 'b', 'govern', { speed: 1 }), 'invalid', 'the status of an unknown order')
      await stop(peer)
    },
  },
  {
    name: 'stop-stale',
    level: 'full',
    section: 'Stop what was seen',
    rule: 'A stop for an item of an earlier turn is answered by NOTICE stale, and the run goes on.',
    hint: 'Compare ifSeq with the last iteration event of the run itself.',
    feature: 'stop',
    async run(bench) {
      await using peer = await bench.connect()
      const last = await secondTurn(peer)
      peer.send({ kind: 'input', sid: 1, mid: 's', type: 'stop', data: { ifSeq: 2, code: 1 } })
      const { code, ref } = await peer.next('notice')
      same([code, ref?.tag, ref?.sid, ref?.detail], ['stale', TAG.input, 1, 's'], 'code and ref of NOTICE')
      await peer.quiet()
      must(!peer.frames.some(({ kind }) => kind === 'end'), 'a run that goes on', 'END')
      peer.send({ kind: 'input', sid: 1, mid: 't', type: 'stop', data: { ifSeq: last, code: 1 } })
      const { outcome, data } = await peer.next('end', 1)
      same([outcome, data['code']], ['cancelled', 1], 'outcome and reason of END')
      same(await ack(peer, 't'), 'accepted', 'the status of the stop')
    },
  },
]

/** Stream 2 reads the 30 items of a run that has ended, with a credit of 20. Stream 1 has read them all. */
async function reread(peer: Peer, policy: 'merge' | 'latest'): Promise<void> {
  peer.start(1, 'count', { to: 30 }, { credit: maxCredit })
  const { run } = await peer.opened(1)
  await peer.next('end', 1)
  peer.attach(2, run, 0, { policy, credit: 20 })
}

/** Starts `turns`, and resolves with the number of the last item of its second turn. */
async function secondTurn(peer: Peer): Promise<number> {
  peer.start(1, 'turns', null, { credit: maxCredit })
  await peer.until(() => peer.text(1).endsWith('two'), 'the text of the second turn')
  return peer.items(1).at(-1)!.seq
}

/** Sends an input to stream 1, and resolves with its status. */
async function send(peer: Peer, mid: string, type: string, data: unknown): Promise<InputAck['status']> {
  peer.send({ kind: 'input', sid: 1, mid, type, data })
  return ack(peer, mid)
}

async function ack(peer: Peer, mid: string): Promise<InputAck['status']> {
  const { status } = await peer.find(
    (frame): frame is InputAck => frame.kind === 'input_ack' && frame.mid === mid,
    `INPUT_ACK of ${mid}`,
  )
  return status
}

/** The data of the first event of a type of stream 1. */
async function event(peer: Peer, type: number): Promise<unknown> {
  await peer.until(() => peer.items(1).some((item) => item.type === type), `EVENT of type ${type}`)
  return peer.items(1).find((item) => item.type === type)?.data
}

async function stop(peer: Peer): Promise<void> {
  peer.send({ kind: 'cancel', sid: 1 })
  await peer.next('end', 1)
}

/** The list of a stream is complete. */
async function mark(peer: Peer, sid: number): Promise<void> {
  await peer.until(() => listed(peer, sid).some(({ run }) => run === undefined), `the mark of list ${sid}`)
}

function listed(peer: Peer, sid: number): Listed[] {
  return peer.frames.filter((frame): frame is Listed => frame.kind === 'listed' && frame.sid === sid)
}

/** The runs of a list, in the order in which they came. */
function listedRuns(peer: Peer, sid: number): string[] {
  return listed(peer, sid).flatMap(({ run }) => run ?? [])
}

/** What a list says last of a run. */
function infoOf(peer: Peer, sid: number, run: string): WireMap {
  return listed(peer, sid).findLast((one) => one.run === run)?.info ?? {}
}
