import { MillraceError } from 'millrace/client'
import { useId, useState } from 'react'
import { fieldOf, valueOf } from '../state/answer-form.ts'
import type { Decision, OpenRequest } from '../state/server-api.ts'

type RequestFormProps = {
  request: OpenRequest
  isAllowed: boolean
  /** The principal of the run, if it is not that of this page. */
  owner: string | undefined
  /** Approves the call that it is about, or refuses it. */
  approve: (call: string, decision: Decision) => Promise<unknown>
  /** Answers any other request. */
  answer: (request: string, value: unknown) => Promise<unknown>
}

/** One question of a run, with what answers it. */
export function RequestForm({ request, isAllowed, owner, approve, answer }: RequestFormProps) {
  const [isSending, setSending] = useState(false)
  const [error, setError] = useState<string>()
  const id = useId()
  const { call, prompt, kind, agent } = request
  const say = async (send: () => Promise<unknown>): Promise<void> => {
    setSending(true)
    try {
      await send()
    } catch (thrown) {
      const { code, message } = MillraceError.from(thrown)
      setError(code === 'not_found' ? 'Somebody else has answered.' : message)
    }
    setSending(false)
  }
  const disabled = isSending || !isAllowed
  return (
    <div className="need-body">
      <p id={id} className="prompt">
        {agent !== undefined && <span className="agent">{agent}</span>}
        {prompt ?? kind}
      </p>
      {call === undefined ? (
        <AnswerControls
          request={request}
          disabled={disabled}
          named={id}
          answer={(value) => say(() => answer(request.request, value))}
          fail={setError}
        />
      ) : (
        <ApprovalControls disabled={disabled} named={id} decide={(decision) => say(() => approve(call, decision))} />
      )}
      {!isAllowed && <p className="faint">You may only look: the run belongs to {owner ?? 'somebody else'}.</p>}
      {error !== undefined && <p role="alert">{error}</p>}
    </div>
  )
}

type ApprovalProps = {
  disabled: boolean
  named: string
  decide: (decision: Decision) => Promise<void>
}

function ApprovalControls({ disabled, named, decide }: ApprovalProps) {
  const [note, setNote] = useState('')
  const denial = note.trim() === '' ? { ok: false } : { ok: false, note: note.trim() }
  return (
    <div className="answers">
      <button
        type="button"
        className="primary small"
        aria-describedby={named}
        disabled={disabled}
        onClick={() => void decide({ ok: true })}
      >
        Approve
      </button>
      <button
        type="button"
        className="small"
        aria-describedby={named}
        disabled={disabled}
        onClick={() => void decide({ ok: true, remember: true })}
      >
        Always
      </button>
      <button
        type="button"
        className="small"
        aria-describedby={named}
        disabled={disabled}
        onClick={() => void decide(denial)}
      >
        Deny
      </button>
      <input
        className="small"
        aria-label="Why not, for the model"
        placeholder="Why not (optional)"
        value={note}
        disabled={disabled}
        onChange={({ target }) => setNote(target.value)}
      />
    </div>
  )
}

type AnswerProps = {
  request: OpenRequest
  disabled: boolean
  named: string
  answer: (value: unknown) => Promise<void>
  fail: (why: string) => void
}

function AnswerControls({ request, disabled, named, answer, fail }: AnswerProps) {
  const [typed, setTyped] = useState('')
  const field = fieldOf(request)
  const choices = field.type === 'choice' ? field.values : field.type === 'boolean' ? [true, false] : undefined
  if (choices)
    return (
      <div className="answers">
        {choices.map((value) => (
          <button
            key={String(value)}
            type="button"
            className="small"
            aria-describedby={named}
            disabled={disabled}
            onClick={() => void answer(value)}
          >
            {value === true ? 'Yes' : value === false ? 'No' : value}
          </button>
        ))}
      </div>
    )
  const submit = (): void => {
    try {
      void answer(valueOf(field, typed))
    } catch {
      fail('This is no JSON.')
    }
  }
  return (
    <form className="answers" action={submit}>
      <input
        className="small"
        type={field.type === 'number' ? 'number' : 'text'}
        step="any"
        aria-labelledby={named}
        placeholder={field.type === 'json' ? 'Answer, as JSON' : 'Answer'}
        value={typed}
        disabled={disabled}
        required
        onChange={({ target }) => setTyped(target.value)}
      />
      <button type="submit" className="primary small" disabled={disabled}>
        Answer
      </button>
    </form>
  )
}
