import type { StreamEvent } from '../../client-sdk/index.ts'
import type { WireMap } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { readReceipt, type Usage } from '../../protocol/receipt.ts'
import { endData, type LoggedEnd } from '../../server/log/logged-end.ts'
import { LocalReader, readRun } from '../../server/runs/local-reader.ts'
import type { Run } from '../../server/runs/run.ts'
import { readToEnd } from '../helpers/read-all.ts'
import type { Ledger } from './ledger.ts'
import type { Plan } from './sim-agents.ts'
import type { Stage } from './stage.ts'

type Cost = Pick<Usage, 'input' | 'output'> & { readonly exact?: boolean }

/** All that a run said, as its log has it. */
export type Transcript = {
  readonly run: Run
  readonly end: LoggedEnd & { readonly data: WireMap }
  readonly events: readonly StreamEvent[]
  /** Its items by their numbers. */
  readonly words: ReadonlyMap<number, string>
}

const OUTCOMES: { readonly [outcome: string]: string } = { done: 'ok', error: 'error', cancelled: 'cancelled' }

/** What an event says, in the same words for every reader. */
export function wordsOf(event: StreamEvent): string {
  return JSON.stringify([event.seq, sayingOf(event)])
}

/** What an event says, without its time and number. */
function sayingOf({ at: _, seq: __, type, ...said }: StreamEvent): unknown {
  if (!('text' in said)) return [type, said]
  // Client and server make texts of what they know in orders of their own.
  const { agent, text, ...of } = said as { agent?: string; text: string; call?: string; name?: string }
  return [type, agent, text, of.call, of.name]
}

/** What must hold of all runs of a server when they are over, by their logs. */
export class Audit {
  readonly #stage: Stage
  readonly #ledger: Ledger
  readonly #transcripts = new Map<string, Transcript>()

  constructor(stage: Stage, ledger: Ledger) {
    this.#stage = stage
    this.#ledger = ledger
  }

  async check(plans: Iterable<Plan>): Promise<void> {
    this.#ledger.checkOver()
    this.#stage.check()
    for (const run of this.#ledger.runs.values()) this.#transcripts.set(run.id, await transcriptOf(run))
    for (const transcript of this.#transcripts.values()) {
      this.#checkEnd(transcript)
      this.#checkAgents(transcript)
      for (const child of this.#ledger.childrenOf(transcript.run)) this.#checkChild(transcript, this.#of(child))
      this.#checkUsage(transcript)
      this.#checkCalls(transcript)
    }
    this.#checkIds()
    for (const plan of plans) this.#checkPlan(plan)
  }

  /** The log of a run that is over. */
  transcript(id: string): Transcript | undefined {
    return this.#transcripts.get(id)
  }

  #of({ id }: Run): Transcript {
    const transcript = this.#transcripts.get(id)
    if (!transcript) throw this.#stage.fail('no-transcript', id)
    return transcript
  }

  #checkEnd({ run, end, events }: Transcript): void {
    let last = 0
    for (const { seq } of events) {
      if (seq <= last) this.#stage.fail('order', `${run.id} item ${seq} after ${last}`)
      last = seq
    }
    if (end.seq <= last) this.#stage.fail('said-after-the-end', `${run.id} item ${last}, end ${end.seq}`)
    if (end.outcome !== 'cancelled') return
    const { by, unsettled, settled, kept } = end.data as {
      by: string
      unsettled: string[]
      settled: boolean
      kept: number
    }
    if (settled !== (unsettled.length === 0) || kept !== end.seq - 1)
      this.#stage.fail('wrong-receipt', `${run.id} ${JSON.stringify(end.data)}`)
    const rightly = by === 'client' ? this.#ledger.isCancelled(run.id) : by === 'parent' && run.parent !== undefined
    if (!rightly) this.#stage.fail('cancelled-by-nobody', `${run.id} ${JSON.stringify(end.data)}`)
  }

  /** Agents begin and end once each, and say nothing before and after that. */
  #checkAgents({ run, events }: Transcript): void {
    const open = new Set<string>()
    const known = new Set<string>()
    for (const event of events) {
      if (event.type === 'gap' || event.agent === undefined) continue
      const { agent } = event
      if (event.type === 'agent.start') {
        if (known.has(agent)) this.#stage.fail('agent-twice', `${agent} in ${run.id}`)
        known.add(agent)
        open.add(agent)
        const parent = this.#ledger.runs.get(agent)?.parent?.id
        if (event.run !== agent || parent === undefined || (event.parent ?? run.id) !== parent)
          this.#stage.fail('wrong-parent', `${run.id} ${JSON.stringify(event)}, parent is ${String(parent)}`)
      } else if (!open.has(agent)) this.#stage.fail('no-agent', `${run.id} ${JSON.stringify(event)}`)
      if (event.type !== 'agent.end') continue
      open.delete(agent)
      this.#checkAgentEnd(event)
    }
  }

  #checkAgentEnd(event: Extract<StreamEvent, { type: 'agent.end' }>): void {
    const id = event.agent ?? ''
    const { outcome, data } = this.#of(this.#ledger.runs.get(id) as Run).end
    const { usage, code, by, note, settled, ms } = data
    const receipt = readReceipt({ code, by, settled, ms, ...(note !== undefined && { note }) })
    const reported = JSON.stringify([event.outcome, event.usage, event.outcome === 'cancelled' && event.receipt])
    const real = JSON.stringify([OUTCOMES[outcome], usage, outcome === 'cancelled' && receipt])
    if (reported !== real) this.#stage.fail('wrong-agent-end', `${id} ${reported}, its end is ${real}`)
    if (outcome === 'cancelled' && by === 'parent' && this.#ledger.bonds.get(id)?.letGo === false)
      this.#stage.fail('cancelled-by-nobody', `${id} by its parent`)
  }

  /** A run passes on the items of a child unchanged. */
  #checkChild({ run, events }: Transcript, child: Transcript): void {
    const bond = this.#ledger.bonds.get(child.run.id)
    if (!bond) return void this.#stage.fail('no-bond', child.run.id)
    const { id } = child.run
    const within = (agent: string | undefined): boolean => agent !== undefined && this.#ledger.isWithin(agent, id)
    const of = events.filter((event) => event.type !== 'gap' && within(event.agent))
    const isFrame = ({ type, ...event }: StreamEvent): boolean =>
      (type === 'agent.start' || type === 'agent.end') && 'agent' in event && event.agent === id
    const frame = of.filter(isFrame).map(({ type }) => type)
    const passed = of.filter((event) => !isFrame(event)).map((event) => attributed(event, id))
    const said = child.events.map((event) => attributed(event, id))
    if (bond.awaited && frame.join() !== 'agent.start,agent.end')
      this.#stage.fail('agent-not-reported', `${id} in ${run.id}: ${frame.join()}`)
    if (of.length > 0 && of[0]?.type !== 'agent.start') this.#stage.fail('said-before-its-start', id)
    if (frame.length > 1 && of.at(-1)?.type !== 'agent.end') this.#stage.fail('said-after-its-end', id)
    // A run that is stopped behind its end is not read any more either.
    const isLeft = child.end.outcome === 'cancelled' || bond.letGo || this.#ledger.isCancelled(id)
    const isWhole = bond.passes && bond.awaited && !isLeft
    if (!bond.passes && passed.length > 0) this.#stage.fail('passed-by-nobody', `${id} in ${run.id}`)
    if (passed.some((words, n) => words !== said[n]) || (isWhole && passed.length !== said.length))
      this.#stage.fail('passed-otherwise', `${id} in ${run.id}: ${passed.length} of ${said.length}`)
    if (bond.answer) this.#checkAnswer(child, bond.answer.value)
  }

  #checkAnswer({ run, end, events }: Transcript, answer: unknown): void {
    // The text of its own children is not part of its answer.
    const own = events.map((event) => (event.type === 'token' && event.agent === undefined ? event.text : ''))
    const text = own.join('')
    const meant = 'result' in end.data ? end.data['result'] : text
    if (end.outcome !== 'done' || JSON.stringify(answer) !== JSON.stringify(meant))
      this.#stage.fail('wrong-answer', `${run.id} ${JSON.stringify(answer)}, meant ${JSON.stringify(meant)}`)
  }

  /** The cost of a run is the sum of what it and its children reported, each once. */
  #checkUsage({ run, end }: Transcript): void {
    const cost = (end.data['usage'] as Cost | undefined) ?? { input: 0, output: 0 }
    const said = this.#saidBelow(run)
    // Of a provider that was cut off, the input is estimated, and the output counts the texts that came.
    const isRight = said.exact
      ? cost.input === said.input && cost.output === said.output
      : cost.input >= said.input && cost.output >= said.output
    if (!isRight) this.#stage.fail('misspent', `${run.id} ${JSON.stringify(cost)}, not ${JSON.stringify(said)}`)
  }

  #saidBelow(run: Run): Required<Cost> {
    const { end, events } = this.#of(run)
    const { exact = true } = (end.data['usage'] as Cost | undefined) ?? {}
    // What a message cut short is estimated, and the run goes on.
    const isCut = events.some((event) => event.type === 'iteration.end' && event.stop === 'interrupted')
    const sum = { input: 0, output: 0, exact: exact && !isCut }
    const own = events.filter((event) => event.type === 'usage' && event.agent === undefined) as Cost[]
    for (const cost of [...own, ...this.#ledger.childrenOf(run).map((child) => this.#saidBelow(child))]) {
      sum.input += cost.input
      sum.output += cost.output
      if (cost.exact === false) sum.exact = false
    }
    return sum
  }

  /** Each call that a run makes itself has one result, unless the run ends before. */
  #checkCalls({ run, end, events }: Transcript): void {
    const open = new Set<string>()
    let iterations = 0
    for (const event of events) {
      if (event.type === 'gap' || event.agent !== undefined) continue
      if (event.type === 'tool.call') open.add(event.call)
      if (event.type === 'tool.result' && !open.delete(event.call)) this.#stage.fail('orphan-result', event.call)
      if (event.type === 'iteration') iterations++
      if (event.type === 'iteration.end' && open.size > 0 && end.outcome === 'done')
        this.#stage.fail('orphan-call', [...open].join(' '))
    }
    if (end.outcome !== 'done') return
    if (open.size > 0) this.#stage.fail('orphan-call', [...open].join(' '))
    if (iterations !== (end.data['iterations'] ?? 0))
      this.#stage.fail('miscounted', `${run.id} ${iterations} iterations`)
  }

  /** Ids of calls and requests are given once in a tree. */
  #checkIds(): void {
    const known = new Set<string>()
    for (const { run, events } of this.#transcripts.values()) {
      const root = this.#ledger.rootOf(run.id)
      for (const event of events) {
        if (event.type === 'gap' || event.agent !== undefined) continue
        if (event.type !== 'tool.call' && event.type !== 'request') continue
        const name = event.type === 'request' ? `${root} request ${event.id}` : `${root} call ${event.call}`
        if (known.has(name)) this.#stage.fail('id-twice', name)
        known.add(name)
      }
    }
  }

  /** The text of an agent is in the conversation that it handed out. */
  #checkPlan({ who, asked, run, handedOut }: Plan): void {
    if (asked > 0 && !handedOut) this.#stage.fail('not-handed-out', who)
    const transcript = run === undefined ? undefined : this.transcript(run)
    if (transcript?.end.outcome !== 'done') return
    const own = transcript.events.map((event) =>
      event.type === 'token' && event.agent === undefined ? event.text : '',
    )
    const kept = (handedOut ?? []).map((message) => (message.role === 'assistant' ? message.content : ''))
    if (own.join('') !== kept.join(''))
      this.#stage.fail('text-not-kept', `${who} said ${own.join('')}, kept ${kept.join('')}`)
  }
}

async function transcriptOf(run: Run): Promise<Transcript> {
  // With what it fails, its end says too.
  const { events } = await readToEnd(readRun(run, new LocalReader(run, DEFAULT_LIMITS, DEFAULT_LIMITS.initialCredit)))
  const words = new Map(events.map((event) => [event.seq, wordsOf(event)]))
  const end = run.end as LoggedEnd
  return { run, end: { ...end, data: endData(end) }, events, words }
}

/** An event as the parent of `agent` is to say it. */
function attributed(event: StreamEvent, agent: string): string {
  const { parent: _, ...said } = { agent, parent: '', ...event }
  return JSON.stringify([said.agent, sayingOf({ ...said, agent: '' } as StreamEvent)])
}
