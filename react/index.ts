'use client'

export type { RunList } from './run-list-store.ts'
export type { AgentPart, DataPart, GapPart, RunPart, StepPart, TextPart, ToolPart } from './run-parts.ts'
export type { Approval, RunActions, RunState, RunStatus, ShownRun, UseRunOptions } from './shown-run.ts'
export { type ConnectionState, useConnection } from './use-connection.ts'
export { useRun } from './use-run.ts'
export { useRuns } from './use-runs.ts'
