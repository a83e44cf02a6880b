import { createClient } from 'millrace/client'
import { createApp, ref } from 'vue'
import type { Actors } from './start.ts'
import { useRun } from './use-run.ts'

const client = createClient<Actors>(new URL('/agents', location.href.replace(/^http/, 'ws')), {
  token: 'a-long-secret',
})
// A page that is loaded again, and a second tab, go on with the latest answer.
const latest = (await client.runs()).at(-1)

createApp({
  setup() {
    const question = ref('')
    const { text, status, show, stop } = useRun()
    if (latest) show(client.attach(latest.actor, latest.id))
    const ask = (): void => show(client.start('chat', question.value || 'Tell me about millrace'))
    return { question, text, status, ask, stop }
  },
  template: `
    <form @submit.prevent="ask">
      <input v-model="question" placeholder="Tell me about millrace" aria-label="Message" />
      <button type="submit">Send</button>
      <button v-if="status === 'running'" type="button" id="stop" @click="stop">Stop</button>
    </form>
    <p id="answer">{{ text }}</p>
    <p id="state" role="status">{{ status }}</p>`,
}).mount('#root')
