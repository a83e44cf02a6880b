/** One metric: what it is for people, and its labels. No label has an id or a text of a client. */
export type Metric = {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels?: readonly string[]
  /** The buckets of a histogram. */
  readonly buckets?: keyof typeof BUCKETS_S
}

/** Upper bounds of buckets, in seconds. */
export const BUCKETS_S: { readonly latency: readonly number[]; readonly duration: readonly number[] } = {
  /** From a local stop to a slow provider. */
  latency: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  /** From a short answer to a run of half a day. */
  duration: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200],
}

/** Every metric of a server, by name. `docs/metrics.md` explains each. */
export const CATALOGUE = {
  millrace_connections: { type: 'gauge', help: 'Open WebSocket connections.' },
  millrace_http_streams: { type: 'gauge', help: 'Open event streams and sockets over plain HTTP.' },
  millrace_sessions: { type: 'gauge', help: 'Sessions that are kept, with or without a connection.' },
  millrace_runs: { type: 'gauge', help: 'Runs that take a slot, by state.', labels: ['actor', 'state'] },
  millrace_runs_gated: { type: 'gauge', help: 'Live runs whose actor waits for its readers.', labels: ['actor'] },
  millrace_runs_detached: {
    type: 'gauge',
    help: 'Live runs that no reader of their principal follows.',
    labels: ['actor'],
  },
  millrace_ended_runs: { type: 'gauge', help: 'Ended runs that are kept for clients that come back.' },
  millrace_ended_bytes: { type: 'gauge', help: 'Bytes of the ended runs that are kept.' },
  millrace_readers: { type: 'gauge', help: 'Readers of live runs, by policy.', labels: ['policy'] },
  millrace_readers_blocked: {
    type: 'gauge',
    help: 'Readers of live runs that have granted no credit for what waits.',
    labels: ['policy'],
  },
  millrace_reader_lag_items: {
    type: 'gauge',
    help: 'Items of live runs that readers have not been sent yet, over all readers.',
    labels: ['policy'],
  },
  millrace_memory_short: { type: 'gauge', help: '1 while the process has too little memory for another run.' },
  millrace_store_down: { type: 'gauge', help: '1 while the store fails.' },
  millrace_notices_waiting: {
    type: 'gauge',
    help: 'Notices that wait to be sent, over all servers that share a store.',
  },
  millrace_limit: { type: 'gauge', help: 'The limits in force, in their own units.', labels: ['limit'] },
  millrace_connections_opened_total: { type: 'counter', help: 'Connections that received WELCOME.' },
  millrace_connections_closed_total: {
    type: 'counter',
    help: 'Connections that were closed, by close code.',
    labels: ['code'],
  },
  millrace_connections_refused_total: {
    type: 'counter',
    help: 'Connections and requests that were refused before anything was done for them.',
    labels: ['code'],
  },
  millrace_limits_met_total: {
    type: 'counter',
    help: 'Starts, connections and messages that were refused because of a limit.',
    labels: ['code'],
  },
  millrace_runs_started_total: { type: 'counter', help: 'Runs that began.', labels: ['actor'] },
  millrace_runs_ended_total: {
    type: 'counter',
    help: 'Runs that ended, by outcome and by the code of an error.',
    labels: ['actor', 'outcome', 'code'],
  },
  millrace_runs_refused_total: {
    type: 'counter',
    help: 'Starts and attaches that were refused for a reason that is no limit.',
    labels: ['code'],
  },
  millrace_runs_dropped_total: { type: 'counter', help: 'Ended runs that were dropped before their time, for room.' },
  millrace_runs_interrupted_total: {
    type: 'counter',
    help: 'Runs that no process held any more, and that ended as interrupted.',
    labels: ['actor'],
  },
  millrace_runs_restored_total: {
    type: 'counter',
    help: 'Runs that no process held any more, and that wait again.',
    labels: ['actor'],
  },
  millrace_runs_moved_total: {
    type: 'counter',
    help: 'Runs that another server has taken over.',
    labels: ['actor'],
  },
  millrace_runs_queued_total: {
    type: 'counter',
    help: 'Runs of remote actors that began to wait for a worker.',
    labels: ['actor'],
  },
  millrace_runs_untaken_total: {
    type: 'counter',
    help: 'Runs of remote actors that no worker took in time.',
    labels: ['actor'],
  },
  millrace_actor_failures_total: { type: 'counter', help: 'Errors that actors and tools threw.', labels: ['actor'] },
  millrace_model_failures_total: {
    type: 'counter',
    help: 'Requests that a provider failed or refused.',
    labels: ['actor', 'code'],
  },
  millrace_store_failures_total: { type: 'counter', help: 'Times that the store began to fail.' },
  millrace_notices_sent_total: { type: 'counter', help: 'Notices that their receiver has accepted.', labels: ['type'] },
  millrace_notice_failures_total: {
    type: 'counter',
    help: 'Attempts to send a notice that failed, by reason.',
    labels: ['code'],
  },
  millrace_notices_dropped_total: { type: 'counter', help: 'Notices that were given up, by reason.', labels: ['code'] },
  millrace_server_failures_total: { type: 'counter', help: 'Errors of authenticate, and of the server itself.' },
  millrace_items_total: { type: 'counter', help: 'Items that runs logged: texts and events.', labels: ['actor'] },
  millrace_bytes_total: { type: 'counter', help: 'Bytes that runs logged.', labels: ['actor'] },
  millrace_usage_tokens_total: {
    type: 'counter',
    help: 'Tokens that ended runs have cost, with those of their children, for the actor that was started.',
    labels: ['actor', 'type'],
  },
  millrace_run_seconds: {
    type: 'histogram',
    help: 'From the start of a run to its end.',
    labels: ['actor', 'outcome'],
    buckets: 'duration',
  },
  millrace_first_item_seconds: {
    type: 'histogram',
    help: 'From the start of a run to its first item.',
    labels: ['actor'],
    buckets: 'latency',
  },
  millrace_notice_seconds: {
    type: 'histogram',
    help: 'From what a notice is about to its acceptance.',
    labels: ['type'],
    buckets: 'duration',
  },
  millrace_cancel_seconds: {
    type: 'histogram',
    help: 'From a cancel, as the server receives it, to its receipt.',
    labels: ['actor', 'settled'],
    buckets: 'latency',
  },
} as const

/** The name of a metric. */
export type MetricName = keyof typeof CATALOGUE
