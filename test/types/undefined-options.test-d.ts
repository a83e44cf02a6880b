import { createClient, smooth } from '../../client-sdk/index.ts'
import { actor, agent, anonymous, createServer, tool } from '../../server/index.ts'
import { ollama } from '../../server/models/ollama.ts'
import { openai } from '../../server/models/openai.ts'

// An option that may be undefined can be passed on as it is.
declare const it: {
  text: string | undefined
  ms: number | undefined
  signal: AbortSignal | undefined
  yes: boolean | undefined
}

const client = createClient('ws://localhost', {
  token: it.text,
  flushMs: it.ms,
  timestamps: it.yes,
  WebSocket: undefined,
})
const run = client.start('a', 1, { signal: it.signal, timeoutMs: it.ms, key: it.text, rate: it.ms, policy: undefined })
void client.ask('a', 1, { signal: it.signal, meta: undefined })
client.attach('a', 'r_1', { after: it.ms, gen: it.ms, credit: it.ms })
void run.cancel({ note: it.text, reason: undefined })
smooth(run.text(), { flushMs: it.ms })
void client.close({ runs: undefined })

export const one = actor({
  description: it.text,
  interactive: it.yes,
  input: undefined,
  stream: undefined,
  ask: (_, { request, spawn }) => {
    spawn(one, 1, { name: it.text, signal: it.signal })
    return request({ kind: 'text', prompt: it.text, expiresMs: it.ms })
  },
})
const add = tool({ description: 'adds', timeoutMs: it.ms, needsApproval: it.yes, run: () => 1 })
export const two = agent({
  tools: { add },
  instructions: it.text,
  settings: { temperature: it.ms },
  onFinish: undefined,
})
const models = [openai('a', { apiKey: it.text, timeouts: { headersMs: it.ms } }), ollama('b', { host: it.text })]
createServer({
  actors: { one },
  authenticate: anonymous(),
  models,
  name: it.text,
  limits: { maxRuns: it.ms },
  logger: undefined,
})
