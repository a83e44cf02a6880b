import type { TargetCancelResult } from 'millrace/client'
import type { RunPart, ToolPart } from 'millrace/react'
import { memo, useState } from 'react'
import { duration, jsonText } from '../state/format.ts'
import { CancelButton } from './cancel-button.tsx'

type PartProps = { part: RunPart; stop?: ((call: string) => Promise<TargetCancelResult>) | undefined }

/** What is shown of a long text: its end. A browser would lay all of it out for each piece. */
const MAX_CHARACTERS = 20_000

/** One part of what a run has said. All of it is text, whatever is in it. */
export const PartView = memo(
  function PartView({ part, stop }: PartProps) {
    const agent = part.agent === undefined ? null : <span className="agent">{part.agent}</span>
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
        return <ToolView part={part} stop={stop} />
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
            <span className="agent">{part.agent ?? part.name}</span>
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
  (before, after) => before.part === after.part && (before.stop === undefined) === (after.stop === undefined),
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

function ToolView({ part, stop }: { part: ToolPart } & Pick<PartProps, 'stop'>) {
  const { name, state, call, args, argsText, output, error, note, progress, ms, agent, receipt } = part
  const isOpen = state === 'running' || state === 'waiting' || state === 'writing'
  return (
    <div className="part tool" data-status={state}>
      <p className="line">
        {agent !== undefined && <span className="agent">{agent}</span>}
        <b>{name || 'tool'}</b>
        <code className="arguments">{jsonText(args ?? argsText, 400)}</code>
        <span className="state" data-state={state}>
          {state}
        </span>
        {ms !== undefined && <span className="faint">{duration(ms)}</span>}
        {isOpen && stop && <CancelButton label="Stop this call" stop={() => stop(call)} />}
      </p>
      {progress && (
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
