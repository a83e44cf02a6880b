import { useChat } from '@ai-sdk/react'
import {
  DefaultChatTransport,
  isToolUIPart,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  type UIMessage,
} from 'ai'
import { createRoot } from 'react-dom/client'

const headers = { authorization: 'Bearer a-long-secret' }
const transport = new DefaultChatTransport({
  api: '/agents/ai-sdk/assistant',
  headers,
  body: { version: 7 },
})

function Chat() {
  const { messages, sendMessage, status, error, addToolApprovalResponse } = useChat({
    id: 'main',
    transport,
    // A page that is loaded again goes on with the answer.
    resume: true,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  })
  const isBusy = status === 'submitted' || status === 'streaming'
  // Over plain HTTP, a closed request may be a page that is loaded again. The id of a message is that of its run.
  const cancel = (): void => void fetch(`/agents/runs/${messages.at(-1)?.id}/cancel`, { method: 'POST', headers })
  const ask = (form: FormData): void => {
    const text = form.get('question')
    if (typeof text === 'string' && text !== '') void sendMessage({ text })
  }
  const answer = (id: string, approved: boolean) => void addToolApprovalResponse({ id, approved })
  return (
    <main>
      {messages.map((message) => (
        <Message key={message.id} message={message} answer={answer} />
      ))}
      <form action={ask}>
        <input name="question" placeholder="Send a mail to Ada!" aria-label="Message" />
        <button type="submit">Send</button>
        {isBusy && (
          <button type="button" onClick={cancel}>
            Stop
          </button>
        )}
      </form>
      <p role="status">{error ? error.message : status}</p>
    </main>
  )
}

type Answered = (id: string, approved: boolean) => void

function Message({ message, answer }: { message: UIMessage; answer: Answered }) {
  return (
    <article className={message.role}>
      {message.parts.map((part, at) => {
        if (part.type === 'text') return <p key={at}>{part.text}</p>
        if (!isToolUIPart(part)) return null
        return (
          <p key={at}>
            {part.type.slice('tool-'.length)} {JSON.stringify(part.input)} {part.state}
            {part.state === 'approval-requested' && (
              <>
                <button onClick={() => answer(part.approval.id, true)}>Allow</button>
                <button onClick={() => answer(part.approval.id, false)}>Refuse</button>
              </>
            )}
          </p>
        )
      })}
    </article>
  )
}

createRoot(document.getElementById('root')!).render(<Chat />)
