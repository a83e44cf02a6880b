// A text is written, checked by two at the same time, approved by a person, and then published with retries.
import { createClient } from 'millrace/client'
import { agent, bearer, createServer, demo, MillraceError, workflow } from 'millrace/server'
import { z } from 'zod'

// With OPENAI_API_KEY a real model answers.
const defaultModel = process.env.OPENAI_API_KEY
  ? (await import('millrace/models/openai')).openai('gpt-5-mini')
  : demo({ tokensPerSec: 1_000 })
const writer = agent({ instructions: 'Write an article.' })
const checker = agent({ instructions: 'Check the facts.' })

const actors = {
  article: workflow({
    input: z.object({ topic: z.string() }),
    steps: (flow) =>
      flow
        .step('draft', writer, { input: ({ topic }) => ({ prompt: `An article about ${topic}` }) })
        .parallel('review', (branch) => ({
          facts: branch.step('check', checker, { input: (draft) => ({ prompt: `Check this: ${draft}` }) }),
          words: branch.step('count', (draft) => draft.split(/\s+/).length),
        }))
        .approve('publish', { prompt: ({ words }) => `Publish these ${words} words?` })
        .step(
          'post',
          ({ words }, { input, step }) => {
            // The first attempt meets a service that is down.
            if (step.attempt === 1) throw new MillraceError('unavailable', 'the journal does not answer')
            return { topic: input.topic, words }
          },
          { retry: { attempts: 3, delayMs: 10 } },
        ),
  }),
}
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }), defaultModel })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'a-long-secret' })

const run = client.start(
  'article',
  { topic: 'mills' },
  {
    onRequest: ({ prompt }) => {
      console.log(`${prompt} yes`)
      return true
    },
  },
)
for await (const event of run) {
  if (event.type !== 'step') continue
  const { id, status, attempt, error } = event
  console.log(`${id} ${status}${attempt === undefined ? '' : ` (attempt ${attempt})`}${error ? `: ${error}` : ''}`)
}
console.log(await run.result)

await client.close()
await server.close()
