import { useState } from 'react'

type SteerProps = { disabled: boolean; send: (type: 'message' | 'message.now', text: string) => Promise<void> }

/** Says something to a run while it works. */
export function SteerForm({ disabled, send }: SteerProps) {
  const [text, setText] = useState('')
  const isEmpty = text.trim() === ''
  const say = (type: 'message' | 'message.now'): void => {
    if (isEmpty) return
    void send(type, text.trim())
    setText('')
  }
  return (
    <form className="steer" action={() => say('message')}>
      <input
        value={text}
        aria-label="Message to the run"
        placeholder="Say something to the run"
        disabled={disabled}
        onChange={({ target }) => setText(target.value)}
      />
      <button type="submit" disabled={disabled || isEmpty} title="The run takes it in its next turn">
        Send
      </button>
      <button
        type="button"
        disabled={disabled || isEmpty}
        title="It cuts the answer short that the run gives"
        onClick={() => say('message.now')}
      >
        Interrupt
      </button>
    </form>
  )
}
