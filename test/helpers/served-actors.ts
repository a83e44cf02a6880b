import { demoActors } from '../../server/cli/demo-actors.ts'
import { type Actor, type ActorContext, actor, type RunEvent } from '../../server/index.ts'
import { ollama } from '../../server/models/ollama.ts'
import { openai } from '../../server/models/openai.ts'
import { mixedActor } from './mixed-run.ts'

/** Asks a model of that name at `host`, offering it a tool. */
export type Asked = { provider: 'openai' | 'ollama'; name: string; host: string }

/** The actors of `served-process.ts`. `aborted` is told of each `sleep` and `stubborn` whose signal fires. */
export function servedActors(aborted: (run: string) => void = () => {}) {
  return {
    ...demoActors,
    sleep: reporting(demoActors.sleep, aborted),
    stubborn: reporting(demoActors.stubborn, aborted),
    mixed: mixedActor(),
    ask: actor({
      async *stream(asked: unknown, context: ActorContext): AsyncGenerator<string | RunEvent> {
        const { provider, name, host } = asked as Asked
        const model =
          provider === 'openai'
            ? openai(name, { baseURL: `${host}/v1`, apiKey: 'none', env: {} })
            : ollama(name, { host, env: {} })
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

function reporting<Input, Result, Data>(
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
