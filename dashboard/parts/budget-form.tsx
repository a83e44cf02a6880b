import { useState } from 'react'

type Budget = { tokens?: number; ms?: number; cost?: number } | null
type BudgetProps = { disabled: boolean; set: (budget: Budget) => Promise<void> }

const FIELDS = [
  ['tokens', 'Tokens', 1],
  ['seconds', 'Seconds', 1_000],
  ['cost', 'Cost', 1],
] as const

/** Limits what a run may spend in all. */
export function BudgetForm({ disabled, set }: BudgetProps) {
  const [said, setSaid] = useState('Budget')
  const submit = (form: FormData): void => {
    const budget = Object.fromEntries(
      FIELDS.flatMap(([name, , factor]) => {
        const typed = form.get(name)
        return typeof typed === 'string' && typed !== ''
          ? [[name === 'seconds' ? 'ms' : name, Number(typed) * factor]]
          : []
      }),
    )
    if (Object.keys(budget).length === 0) return
    void set(budget)
    setSaid('Budget: set')
  }
  return (
    <details className="budget">
      <summary>{said}</summary>
      <form action={submit}>
        {FIELDS.map(([name, label]) => (
          <label key={name}>
            {label}
            <input name={name} type="number" min="0" step="any" className="small" disabled={disabled} />
          </label>
        ))}
        <button type="submit" className="small" disabled={disabled}>
          Set
        </button>
        <button
          type="button"
          className="small"
          disabled={disabled}
          onClick={() => {
            void set(null)
            setSaid('Budget')
          }}
        >
          Lift
        </button>
      </form>
    </details>
  )
}
