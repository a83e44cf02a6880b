import type { RunPart, ShownRun, ToolPart } from 'millrace/react'
import { memo } from 'react'

export function Answer({ run }: { run: ShownRun }) {
  const { question } = run.meta ?? {}
  return (
    <article>
      <p className="question">{typeof question === 'string' && question}</p>
      {run.parts.map((part, at) => (
        <Part key={at} part={part} />
      ))}
      {run.requests.map(
        ({ id, call, prompt }) =>
          call !== undefined && (
            <p key={id}>
              {prompt} <button onClick={() => void run.approve(call, true)}>Allow</button>{' '}
              <button onClick={() => void run.approve(call, { ok: false, note: 'not now' })}>Refuse</button>
            </p>
          ),
      )}
      {run.receipt && (
        <small>
          Stopped. Provider: {run.receipt.provider}. Kept up to item {run.receipt.kept}.
        </small>
      )}
      {run.error && <p role="alert">{run.error.message}</p>}
    </article>
  )
}

/** Parts that did not change are the same objects, and are not rendered again. */
const Part = memo(function Part({ part }: { part: RunPart }) {
  switch (part.type) {
    case 'text':
      return <p className="answer">{part.text}</p>
    case 'thinking':
      return <p className="thinking">{part.text}</p>
    case 'tool':
      return <Tool {...part} />
    case 'gap':
      return <p role="alert">Some items are missing here.</p>
    default:
      return null
  }
})

function Tool({ name, state, args, argsText, note, output, error }: ToolPart) {
  return (
    <p className="tool">
      {name} {args === undefined ? argsText : JSON.stringify(args)}
      <br />
      <small>
        {state} {error ?? (output === undefined ? note : JSON.stringify(output))}
      </small>
    </p>
  )
}
