import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { CLOSE, MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { LogEvent } from '../logging/logger.ts'
import { BUCKETS_S, CATALOGUE, type Metric, type MetricName } from './catalogue.ts'
import type { MeasuredRun, Metrics, MetricsView, RecordFields } from './metrics.ts'

const CLOSE_CODES: ReadonlySet<unknown> = new Set([1000, 1001, 1005, 1006, ...Object.values(CLOSE)])
const USAGE_TYPES = ['input', 'output', 'cached', 'thinking'] as const

/** The options of `prometheus`. */
export type PrometheusOptions = {
  /** The registry of prom-client that gets the metrics, for a process that has others. Default: one of their own. */
  register?: Registry | undefined
  /** Labels that all metrics get, such as `{ worker: '1' }`, in a registry of their own. Default: none. */
  labels?: { readonly [name: string]: string } | undefined
}

const OPTIONS: OptionKinds<PrometheusOptions> = { register: 'an object', labels: 'an object' }

/**
 * Metrics for Prometheus: `createServer({ metrics: prometheus() })`. `GET /metrics` of plain HTTP answers with them. Needs
 * the package `prom-client`.
 * @throws MillraceError `bad_request` for an unknown option, for a registry that has metrics of millrace already, and for
 * labels with a registry of yours: it has labels of its own; and for a label that has no valid name, is one of a metric, or
 * is no text.
 */
export function prometheus(options: PrometheusOptions = {}): Metrics {
  checkOptions('prometheus', options, OPTIONS)
  const { register, labels } = options
  if (!labels) return new PrometheusMetrics(register ?? new Registry())
  if (register) throw new MillraceError('bad_request', 'labels are for a registry of their own: set those of register')
  for (const [name, value] of Object.entries(labels)) checkLabel(name, value)
  const own = new Registry()
  own.setDefaultLabels(labels)
  return new PrometheusMetrics(own)
}

/** As Prometheus has them, https://prometheus.io/docs/concepts/data_model. What begins with `__` is its own. */
const LABEL_NAME = /^(?!__)[a-zA-Z_]\w*$/
/** Labels that metrics have themselves. `le` is that of the buckets of a histogram. */
const OWN_LABELS = new Set<string>(['le', ...Object.values(CATALOGUE).flatMap(({ labels = [] }: Metric) => labels)])

function checkLabel(name: string, value: unknown): void {
  const refuse = (why: string): never => {
    throw new MillraceError('bad_request', `prometheus: the label ${JSON.stringify(name)} ${why}`)
  }
  if (!LABEL_NAME.test(name)) refuse('needs a name of letters, digits and _ that does not begin with a digit or __')
  if (OWN_LABELS.has(name)) refuse('is one that metrics have themselves: name it otherwise')
  if (typeof value !== 'string') refuse('needs a text')
}

type Logged = MeasuredRun['logged']
type Labels = { readonly [name: string]: string | number }

/** Counts what happens in a server, and looks at what is live when it is scraped. */
class PrometheusMetrics implements Metrics {
  readonly #register: Registry
  readonly #counters = new Map<MetricName, Counter>()
  readonly #gauges = new Map<MetricName, Gauge>()
  readonly #histograms = new Map<MetricName, Histogram>()
  /** What is counted already of what live runs have logged, by their ids. */
  #counted = new Map<string, Logged>()
  /** Takes what is live now whenever the registry is read. */
  readonly #collecting = {
    collect: (): void => {
      if (this.#view) this.#look(this.#view)
    },
  }
  #isStoreDown = false
  #view: MetricsView | undefined

  constructor(register: Registry) {
    this.#register = register
    for (const name of Object.keys(CATALOGUE) as MetricName[]) {
      if (register.getSingleMetric(name))
        throw new MillraceError('bad_request', `the registry has ${name} already: each server needs one of its own`)
      this.#make(name, CATALOGUE[name])
    }
  }

  #make(name: MetricName, { type, help, labels = [], buckets }: Metric): void {
    const settings = { name, help, labelNames: [...labels], registers: [this.#register] }
    if (type === 'counter') this.#counters.set(name, new Counter(settings))
    else if (type === 'gauge')
      this.#gauges.set(name, new Gauge({ ...settings, ...(name === FIRST && this.#collecting) }))
    else if (buckets) this.#histograms.set(name, new Histogram({ ...settings, buckets: [...BUCKETS_S[buckets]] }))
  }

  begin(view: MetricsView): void {
    if (this.#view)
      throw new MillraceError('bad_request', 'these metrics are those of another server: call prometheus() for each')
    this.#view = view
    for (const [limit, value] of Object.entries(view.limits)) this.#set('millrace_limit', value, { limit })
  }

  record(event: LogEvent, fields: RecordFields): void {
    // The name of a child may come of data. It is in the log, and no label.
    const actor = String(fields['registered'] ?? fields['actor'])
    switch (event) {
      case 'connection.opened':
        return this.#add('millrace_connections_opened_total')
      case 'connection.closed':
        return this.#add('millrace_connections_closed_total', { code: closeCode(fields['code']) })
      case 'connection.refused':
        return this.#add('millrace_connections_refused_total', { code: refusalCode(fields['code']) })
      case 'origin.refused':
        return this.#add('millrace_connections_refused_total', { code: 'origin' })
      case 'limit.met':
        return this.#add('millrace_limits_met_total', { code: refusalCode(fields['code'] ?? 'overloaded') })
      case 'run.started':
        return this.#add('millrace_runs_started_total', { actor })
      case 'run.ended':
        return this.#ended(actor, fields)
      case 'run.refused':
        return this.#add('millrace_runs_refused_total', { code: String(fields['code']) })
      case 'run.dropped':
        return this.#add('millrace_runs_dropped_total')
      case 'run.interrupted':
        return this.#add('millrace_runs_interrupted_total', { actor })
      case 'run.restored':
        return this.#add('millrace_runs_restored_total', { actor })
      case 'run.moved':
        this.#countLast(actor, fields)
        return this.#add('millrace_runs_moved_total', { actor })
      case 'run.waiting':
        return this.#add('millrace_runs_queued_total', { actor })
      case 'run.untaken':
        return this.#add('millrace_runs_untaken_total', { actor })
      case 'run.failed':
        return this.#add('millrace_actor_failures_total', { actor })
      case 'model.failed':
        return this.#add('millrace_model_failures_total', { actor, code: String(fields['code']) })
      case 'server.failed':
        return this.#add('millrace_server_failures_total')
      case 'store.failed':
        this.#isStoreDown = true
        return this.#add('millrace_store_failures_total')
      case 'store.recovered':
        this.#isStoreDown = false
        return
      case 'notice.sent':
        this.#observe('millrace_notice_seconds', fields['ageMs'], { type: String(fields['type']) })
        return this.#add('millrace_notices_sent_total', { type: String(fields['type']) })
      case 'notice.failed':
        return this.#add('millrace_notice_failures_total', { code: String(fields['code']) })
      case 'notice.dropped':
        return this.#add('millrace_notices_dropped_total', { code: String(fields['code']) }, Number(fields['count']))
      case 'actor.unknown': // `run.refused` follows.
      case 'http.off':
      case 'server.listening':
      case 'run.withdrawn':
      case 'worker.ready':
      case 'server.closing':
      case 'server.closed':
    }
  }

  async text(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#register.contentType, text: await this.#register.metrics() }
  }

  #ended(actor: string, fields: RecordFields): void {
    const { ms, firstMs, cancelMs, settled, usage, usageOfParent, parent } = fields
    const outcome = String(fields['outcome'])
    const code = typeof fields['code'] === 'string' ? fields['code'] : ''
    this.#add('millrace_runs_ended_total', { actor, outcome, code })
    this.#observe('millrace_run_seconds', ms, { actor, outcome })
    this.#observe('millrace_first_item_seconds', firstMs, { actor })
    this.#observe('millrace_cancel_seconds', cancelMs, { actor, settled: String(settled) })
    this.#countLast(actor, fields)
    // That of a child is in the usage of its parent.
    if (usage === undefined || parent !== undefined) return
    for (const type of USAGE_TYPES) {
      // Of a run that was let go, its parent has counted a part.
      const tokens = ((usage as Usage)[type] ?? 0) - ((usageOfParent as Usage | undefined)?.[type] ?? 0)
      if (tokens > 0) this.#add('millrace_usage_tokens_total', { actor, type }, tokens)
    }
  }

  /** Takes what is live now. */
  #look(view: MetricsView): void {
    this.#set('millrace_connections', view.connections)
    this.#set('millrace_http_streams', view.streams)
    this.#set('millrace_notices_waiting', view.pendingNotices)
    this.#set('millrace_sessions', [...view.sessions()].length)
    this.#set('millrace_ended_runs', view.endedRuns)
    this.#set('millrace_ended_bytes', view.endedBytes)
    this.#set('millrace_memory_short', Number(view.isShort))
    this.#set('millrace_store_down', Number(this.#isStoreDown))
    for (const name of OF_RUNS) this.#gauges.get(name)?.reset()
    const counted = new Map<string, Logged>()
    for (const run of view.runs()) {
      this.#lookAt(run)
      // The record of its end counts, or has counted, what is left of an ended run.
      const sums = run.end ? this.#counted.get(run.id) : this.#count(run.registeredName, run.id, run.logged)
      if (sums) counted.set(run.id, sums)
    }
    this.#counted = counted
  }

  #lookAt(run: MeasuredRun): void {
    const { registeredName: actor, state, log, end } = run
    this.#raise('millrace_runs', { actor, state })
    if (end) return
    if (run.gated) this.#raise('millrace_runs_gated', { actor })
    if (run.detached) this.#raise('millrace_runs_detached', { actor })
    for (const { policy, cursor } of run.followers) {
      const lag = Math.max(0, log.last - cursor.last)
      this.#raise('millrace_readers', { policy })
      this.#raise('millrace_reader_lag_items', { policy }, lag)
      if (lag > 0 && cursor.balance <= 0) this.#raise('millrace_readers_blocked', { policy })
    }
  }

  /** A run has logged its last here. */
  #countLast(actor: string, { run, items, bytes }: RecordFields): void {
    if (typeof run !== 'string' || typeof items !== 'number' || typeof bytes !== 'number') return
    this.#count(actor, run, { items, bytes })
    this.#counted.delete(run)
  }

  /** Counts what a run has logged since it was counted last. A log that was cut is behind that for a while. */
  #count(actor: string, run: string, logged: Logged): Logged {
    const before = this.#counted.get(run) ?? { items: 0, bytes: 0 }
    const items = Math.max(before.items, logged.items)
    const bytes = Math.max(before.bytes, logged.bytes)
    this.#add('millrace_items_total', { actor }, items - before.items)
    this.#add('millrace_bytes_total', { actor }, bytes - before.bytes)
    return { items, bytes }
  }

  #add(name: MetricName, labels: Labels = {}, by = 1): void {
    this.#counters.get(name)?.inc(labels, by)
  }

  #raise(name: MetricName, labels: Labels, by = 1): void {
    this.#gauges.get(name)?.inc(labels, by)
  }

  #set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  #observe(name: MetricName, ms: unknown, labels: Labels): void {
    if (typeof ms === 'number') this.#histograms.get(name)?.observe(labels, ms / 1_000)
  }
}

/** The metric that a registry reads before all others. */
const FIRST: MetricName = 'millrace_connections'

/** The metrics that are made anew at each scrape. */
const OF_RUNS: readonly MetricName[] = [
  'millrace_runs',
  'millrace_runs_gated',
  'millrace_runs_detached',
  'millrace_readers',
  'millrace_readers_blocked',
  'millrace_reader_lag_items',
]

/** A client may close with any code, and labels must be few. */
function closeCode(code: unknown): string {
  return CLOSE_CODES.has(code) ? String(code) : 'other'
}

/** A code of an error, or a close code. */
function refusalCode(code: unknown): string {
  return typeof code === 'number' ? closeCode(code) : String(code)
}
