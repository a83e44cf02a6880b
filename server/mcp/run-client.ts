import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { Receipt } from '../../protocol/receipt.ts'

/** A run as its client has it: what the tools use of `Run` of `millrace/client`. */
export interface ClientRun extends AsyncIterable<StreamEvent, undefined> {
  readonly opened: Promise<{ id: string }>
  readonly end: Promise<RunEnd>
  cancel(options?: { note?: string }): Promise<Partial<Receipt> & { confirmed: boolean }>
  detach(): void
  send(type: string, data: unknown): Promise<unknown>
}

/** A client of the actors: what the tools use of `Client` of `millrace/client`. */
export interface RunClient {
  start(actor: string, input: unknown, options: { onDetach: 'continue' }): ClientRun
  attach(actor: string, run: string, options: { after: number; policy: 'log' }): ClientRun
}
