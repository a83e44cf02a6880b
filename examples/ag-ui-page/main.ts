import { AbstractAgent } from '@ag-ui/client'
import { millraceAgent } from 'millrace/adapters/ag-ui'
import { createClient } from 'millrace/client'

document.getElementById('root')!.innerHTML = `
  <form>
    <input name="question" placeholder="Weather in Oslo and Rome?" aria-label="Message" />
    <button type="submit">Send</button>
    <button type="button" id="stop">Stop</button>
  </form>
  <ol id="messages"></ol>
  <p id="state" role="status"></p>`

const form = document.querySelector('form')!
const list = document.getElementById('messages')!
const state = document.getElementById('state')!

const client = createClient(new URL('/agents', location.href.replace(/^http/, 'ws')), { token: 'a-long-secret' })
const agent = millraceAgent(AbstractAgent, { client, agent: 'assistant', threadId: 'main' })

agent.subscribe({
  onMessagesChanged: ({ messages }) => {
    list.replaceChildren(
      ...messages.map((message) => {
        const item = document.createElement('li')
        const calls = message.role === 'assistant' ? (message.toolCalls ?? []) : []
        const called = calls.map(({ function: { name, arguments: args } }) => `${name} ${args}`)
        item.className = message.role
        item.textContent = [typeof message.content === 'string' ? message.content : '', ...called].join(' ')
        return item
      }),
    )
  },
  onRunFinishedEvent: ({ event }) => {
    state.textContent = event.outcome?.type === 'cancelled' ? 'Stopped.' : 'Done.'
  },
  onRunErrorEvent: ({ event }) => {
    state.textContent = event.message
  },
})

form.onsubmit = (event) => {
  event.preventDefault()
  const question = new FormData(form).get('question')
  if (typeof question !== 'string' || question === '' || agent.isRunning) return
  agent.addMessage({ id: crypto.randomUUID(), role: 'user', content: question })
  state.textContent = ''
  form.reset()
  void agent.runAgent()
}
document.getElementById('stop')!.onclick = () => agent.abortRun()

// A page that is loaded again goes on with the answer of its thread.
void agent.connectAgent()
