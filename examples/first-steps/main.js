import { createClient } from 'millrace/client'

const client = createClient('ws://localhost:7400', { token: 'a-long-secret' })
const [form, stop, answer, state] = ['form', '#stop', '#answer', '#state'].map((one) => document.querySelector(one))

async function show(run) {
  answer.textContent = state.textContent = ''
  stop.disabled = false
  stop.onclick = () => run.cancel()
  try {
    for await (const text of run.text()) answer.append(text)
    const { outcome, receipt } = await run.end
    state.textContent = receipt ? `stopped; the provider's socket: ${receipt.provider}` : outcome
  } catch (error) {
    state.textContent = error.message
  }
  stop.disabled = true
}

form.onsubmit = (event) => {
  event.preventDefault()
  void show(client.start('helper', form.question.value))
}

// After a reload, the page goes on with the latest answer.
const latest = (await client.runs()).at(-1)
if (latest) void show(client.attach(latest.actor, latest.id))
