import type { TargetCancelResult } from 'millrace/client'
import type { RunPart, ToolPart } from 'millrace/react'
import { memo, useState } from 'react'
import { duration, jsonText } from '../state/format.ts'
import { CancelButton } from './cancel-button.tsx'

type PartProps = {
  part: RunPart
  /** What the agent is called that has said it. */
  agent: string | undefined
  stop?: ((call: string) => Promise<TargetCancelResult>) | undefined
}

/** What is shown of a long text: its end. A browser would lay all of it out for each piece. */
const MAX_CHARACTERS = 20_000
/** What is shown of the arguments of a call. */
const MAX_ARGUMENTS = 400

/** One part of what a run has said. All of it is text, whatever is in it. */
export const PartView = memo(
  function PartView({ part, agent: name, stop }: PartProps) {
    const agent = name === undefined ? null : <span className="agent">{name}</span>
    switch (part.type) {
      case 'text':
      case 'thinking':
        return (
          <div className="part" data-type={part.type}>
            {part.type === 'thinking' && <span className="agent">thinking</span>}
            {agent}
            <LongText text={part.text} />
          </div>
        )
      case 'tool':
        return <ToolView part={part} agent={name} stop={stop} />
      case 'step':
        return (
          <p className="part line" data-status={part.status}>
            {agent}
            <b>{part.name}</b> {part.status === 'start' ? 'began' : part.status}
            {part.ms !== undefined && <span className="faint"> {duration(part.ms)}</span>}
            {part.error !== undefined && <span className="wrong"> {part.error}</span>}
          </p>
        )
      case 'agent':
        return (
          <p className="part line" data-status={part.state}>
            <span className="agent">agent</span>
            <b>{part.name}</b> {part.state === 'running' ? 'works' : part.state}
          </p>
        )
      case 'data':
        return (
          <details className="part">
            <summary>
              {agent}
              <b>{part.name}</b>
            </summary>
            <pre>{jsonText(part.value)}</pre>
          </details>
        )
      case 'gap':
        return (
          <p className="part line wrong">
            Items {part.from} to {part.next - 1} are missing: {part.reason.replace('_', ' ')}.
          </p>
        )
    }
  },
  (before, after) =>
    before.part === after.part &&
    before.agent === after.agent &&
    (before.stop === undefined) === (after.stop === undefined),
)

function LongText({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false)
  const isCut = text.length > MAX_CHARACTERS && !isWhole
  return (
    <>
      {isCut && (
        <button type="button" className="small" onClick={() => setWhole(true)}>
          Show all {text.length.toLocaleString('en')} characters
        </button>
      )}
      <p className="text">{isCut ? text.slice(-MAX_CHARACTERS) : text}</p>
    </>
  )
}

function ToolView({ part, agent, stop }: { part: ToolPart } & Pick<PartProps, 'agent' | 'stop'>) {
  const { name, state, call, args, argsText, output, error, note, progress, ms, receipt } = part
  const isOpen = state === 'running' || state === 'waiting' || state === 'writing'
  return (
    <div className="part tool" data-status={state}>
      <p className="line">
        {agent !== undefined && <span className="agent">{agent}</span>}
        <b>{name || 'tool'}</b>
        <code className="arguments">{argumentText(args, argsText)}</code>
        <span className="state" data-state={state}>
          {state}
        </span>
        {ms !== undefined && <span className="faint">{duration(ms)}</span>}
        {isOpen && stop && <CancelButton label="Stop this call" stop={() => stop(call)} />}
      </p>
      {progress && isOpen && (
        <p className="line faint">
          {progress.total !== undefined && (
            <progress value={progress.current} max={progress.total} aria-label={`${name}: progress`} />
          )}
          {progress.message ?? note}
        </p>
      )}
      {!progress && note !== undefined && isOpen && <p className="line faint">{note}</p>}
      {output !== undefined && <pre>{jsonText(output)}</pre>}
      {error !== undefined && <p className="wrong">{error}</p>}
      {receipt && (
        <p className="faint">
          stopped in {duration(receipt.ms)}
          {receipt.settled ? '' : ', and it goes on'}
        </p>
      )}
    </div>
  )
}

/** The arguments in one line, as far as they are written. */
function argumentText(args: unknown, written: string): string {
  const text = args === undefined ? written : (JSON.stringify(args) ?? '')
  return text.length > MAX_ARGUMENTS ? `${text.slice(0, MAX_ARGUMENTS)}…` : text
}
