import { createClient } from 'millrace/client'

const client = createClient('ws://localhost:7400', { token: 'a-long-secret' })
const [form, stop, answer, state] = ['form', '#stop', '#answer', '#state'].map((one) => document.querySelector(one))

async function show(run) {
  answer.textContent = state.textContent = ''
  stop.disabled = false
  stop.onclick = () => run.cancel()
  let end
  try {
    for await (const text of run.text()) answer.append(text)
    end = await run.end
  } catch (error) {
    // It failed, or somebody else has stopped it: then this has the receipt, too.
    end = error
  }
  const { outcome, receipt, message } = end
  state.textContent = receipt ? `stopped; the provider's socket: ${receipt.provider}` : (outcome ?? message)
  stop.disabled = true
}

form.onsubmit = (event) => {
  event.preventDefault()
  void show(client.start('helper', form.question.value))
}

// After a reload, the page goes on with the latest answer.
try {
  const latest = (await client.runs()).at(-1)
  if (latest) void show(client.attach(latest.actor, latest.id))
} catch (error) {
  state.textContent = `${error.message}: reload the page to try again`
}
