import type { AnyData } from '../../protocol/events.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { type Actor, type ActorContext, actor, type Model, type RunEvent } from '../../server/index.ts'
import { mixedActor } from './mixed-run.ts'

/** Asks a model of that name at `host`, offering it a tool. */
export type Asked = { provider: 'openai' | 'responses' | 'anthropic' | 'gemini' | 'ollama'; name: string; host: string }

/** The actors of `served-process.ts`. `aborted` is called for each `sleep` and `stubborn` whose signal fires. */
export function servedActors(aborted: (run: string) => void = () => {}) {
  return {
    ...demoActors,
    sleep: reporting(demoActors.sleep, aborted),
    stubborn: reporting(demoActors.stubborn, aborted),
    mixed: mixedActor(),
    ask: actor({
      async *stream(asked: unknown, context: ActorContext): AsyncGenerator<string | RunEvent> {
        const model = await modelOf(asked as Asked)
        const tools = [{ name: 'weather', description: 'Weather now', parameters: { type: 'object' } }]
        for await (const event of context.model(model).stream({
          messages: [{ role: 'user', content: 'hello' }],
          tools,
        })) {
          if (event.type === 'text') yield event.text
          else if (event.type !== 'finish') yield event
        }
      },
    }),
  }
}

export type ServedActors = ReturnType<typeof servedActors>

/** Its package is loaded when it is asked for: most processes that serve these actors never do. */
async function modelOf({ provider, name, host }: Asked): Promise<Model> {
  switch (provider) {
    case 'openai':
    case 'responses': {
      const { openai } = await import('../../server/models/openai.ts')
      const api = provider === 'openai' ? 'chat' : 'responses'
      return openai(name, { api, baseURL: `${host}/v1`, apiKey: 'none', env: {} })
    }
    case 'anthropic': {
      const { anthropic } = await import('../../server/models/anthropic.ts')
      return anthropic(name, { baseURL: host, apiKey: 'none', env: {} })
    }
    case 'gemini': {
      const { gemini } = await import('../../server/models/gemini.ts')
      return gemini(name, { baseURL: host, apiKey: 'none', env: {} })
    }
    case 'ollama': {
      const { ollama } = await import('../../server/models/ollama.ts')
      return ollama(name, { host, env: {} })
    }
  }
}

function reporting<Input, Result, Data extends AnyData>(
  of: Actor<Input, Result, Data>,
  aborted: (run: string) => void,
): Actor<Input, Result, Data> {
  const stream = of.stream!
  return {
    ...of,
    stream(input, context) {
      context.signal.addEventListener('abort', () => aborted(context.run.id), { once: true })
      return stream(input, context)
    },
  }
}
