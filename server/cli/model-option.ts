import { MillraceError } from '../../protocol/errors.ts'
import { demo } from '../models/demo.ts'
import type { Model } from '../models/model.ts'

type Env = { readonly [name: string]: string | undefined }

/** Each provider of the command line: the package that it needs, and the function that makes its models. */
const PROVIDERS: {
  readonly [provider: string]: { peer: string; load: () => Promise<(name: string, env: Env) => Model> }
} = {
  anthropic: {
    peer: '@anthropic-ai/sdk',
    load: async () => {
      const { anthropic } = await import('../models/anthropic.ts')
      return (name, env) => anthropic(name, { env })
    },
  },
  gemini: {
    peer: '@google/genai',
    load: async () => {
      const { gemini } = await import('../models/gemini.ts')
      return (name, env) => gemini(name, { env })
    },
  },
  ollama: {
    peer: 'ollama',
    load: async () => {
      const { ollama } = await import('../models/ollama.ts')
      return (name, env) => ollama(name, { env })
    },
  },
  openai: {
    peer: 'openai',
    load: async () => {
      const { openai } = await import('../models/openai.ts')
      return (name, env) => openai(name, { env })
    },
  },
}

/** The forms of the name of a model, for people. */
export const MODEL_NAMES: string = ['demo', ...Object.keys(PROVIDERS).map((provider) => `${provider}:NAME`)].join(', ')

/**
 * Makes the model with the given name: `demo`, or a provider and the name of its model, such as `openai:gpt-5-mini`. It
 * loads the provider's package.
 * @param env The source of keys and addresses, such as `OPENAI_API_KEY` and `OLLAMA_HOST`. Default `process.env`.
 * @throws MillraceError `bad_request` for an unknown provider, a missing name, a missing key, or a package that is not
 * installed. Its one line says what to do.
 */
export async function parseModel(named: string, env: Env = process.env): Promise<Model> {
  const colon = named.indexOf(':')
  const provider = colon === -1 ? named : named.slice(0, colon)
  // The name of an Ollama model may have a colon of its own: ollama:llama3.2:1b.
  const name = colon === -1 ? '' : named.slice(colon + 1)
  if (provider === 'demo') return demo()
  const known = Object.hasOwn(PROVIDERS, provider) ? PROVIDERS[provider] : undefined
  if (!known) throw new MillraceError('bad_request', `unknown model ${named}: write one of ${MODEL_NAMES}`)
  const make = await loaded(provider, known.peer, known.load())
  return make(name, env)
}

async function loaded<Module>(provider: string, peer: string, module: Promise<Module>): Promise<Module> {
  try {
    return await module
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') {
      throw new MillraceError('bad_request', `${provider} models need the package ${peer}: npm install ${peer}`, {
        cause: error,
      })
    }
    throw error
  }
}
