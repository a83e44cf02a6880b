import { createClient } from '/client-sdk/index.js'

const answer = document.querySelector('#answer')
const state = document.querySelector('#state')
const stop = document.querySelector('#stop')

const client = createClient(`${location.origin.replace('http', 'ws')}/agents`, {
  token: 'a-long-secret',
  onStatus: (status, error) => {
    if (status === 'lost') state.textContent = `Not connected: ${error.message}`
    if (status === 'open') state.textContent = ''
  },
})

/** Types the answer of a run, as fast as the page is drawn: a hidden page draws nothing, and the model waits. */
async function show(run) {
  answer.textContent = ''
  state.textContent = ''
  stop.disabled = false
  stop.onclick = () => run.cancel()
  try {
    for await (const text of run.text()) {
      answer.append(text)
      await new Promise(requestAnimationFrame)
    }
    const { outcome, receipt } = await run.end
    state.textContent = receipt ? `Stopped. Provider: ${receipt.provider}` : outcome
  } catch (error) {
    state.textContent = error.message
  }
  stop.disabled = true
}

document.querySelector('form').onsubmit = (event) => {
  event.preventDefault()
  void show(client.start('chat', new FormData(event.target).get('question') || 'Tell me about millrace'))
}

// A page that is loaded again, and a second tab, go on with the latest answer.
const latest = (await client.runs()).at(-1)
if (latest) void show(client.attach(latest.actor, latest.id))
