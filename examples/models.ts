// One question to a model of each provider whose key is set. Without keys, it says which to set.
import { createClient } from 'millrace/client'
import { anthropic } from 'millrace/models/anthropic'
import { gemini } from 'millrace/models/gemini'
import { ollama } from 'millrace/models/ollama'
import { openai } from 'millrace/models/openai'
import { agent, bearer, createServer, MillraceError, tool } from 'millrace/server'
import { z } from 'zod'

const names = {
  anthropic: process.env.ANTHROPIC_MODEL ?? 'claude-sonnet-5-5',
  gemini: process.env.GEMINI_MODEL ?? 'gemini-3-flash',
  openai: process.env.OPENAI_MODEL ?? 'gpt-5-mini',
  ollama: process.env.OLLAMA_MODEL ?? 'llama3.2',
}

const weather = tool({
  description: 'The weather in a city now',
  input: z.object({ city: z.string() }),
  run: ({ city }) => `12 degrees and rain in ${city}`,
})

const token = 'a-long-secret'
for (const [provider, name] of Object.entries(names)) {
  if (provider === 'ollama' && !process.env.OLLAMA_HOST) {
    console.log('ollama: start it with `ollama serve`, and set OLLAMA_HOST=127.0.0.1')
    continue
  }
  try {
    const actors = { chat: agent({ model: `${provider}:${name}`, tools: { weather } }) }
    const providers = { anthropic, gemini, openai, ollama }
    await using server = createServer({ actors, providers, authenticate: bearer({ [token]: 'alice' }) })
    const { url } = await server.listen(0)
    const client = createClient<typeof actors>(url, { token })
    const run = client.start('chat', 'How is the weather in Oslo?')
    for await (const event of run) if (event.type === 'tool.call') console.log(`${provider} calls ${event.name}`)
    const { usage } = await run.end
    console.log(`${provider}: ${await run.result} (${usage?.input} tokens in, ${usage?.output} out)`)
    await client.close()
  } catch (error) {
    if (!MillraceError.is(error)) throw error
    console.log(`${provider}: ${error.message}`)
  }
}
