import { MillraceError } from '../../protocol/errors.ts'
import { demo } from '../models/demo.ts'
import type { Model } from '../models/model.ts'

/**
 * The model that a person named: `demo`, `openai:NAME` or `ollama:NAME`. Its keys and addresses come from `env`
 * (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OLLAMA_HOST`); the provider's package is loaded only now.
 * @throws MillraceError `bad_request` with one line that says what to do: unknown provider, no name, no key, package
 * not installed.
 */
export async function parseModel(
  named: string,
  env: { readonly [name: string]: string | undefined } = process.env,
): Promise<Model> {
  const colon = named.indexOf(':')
  const provider = colon === -1 ? named : named.slice(0, colon)
  // An Ollama name has a colon of its own: ollama:llama3.2:1b.
  const name = colon === -1 ? '' : named.slice(colon + 1)
  switch (provider) {
    case 'demo':
      return demo()
    case 'openai': {
      const { openai } = await loaded('openai', import('../models/openai.ts'))
      return openai(name, { env })
    }
    case 'ollama': {
      const { ollama } = await loaded('ollama', import('../models/ollama.ts'))
      return ollama(name, { env })
    }
    default:
      throw new MillraceError('bad_request', `no model ${named}: write demo, openai:NAME or ollama:NAME`)
  }
}

async function loaded<Module>(peer: string, module: Promise<Module>): Promise<Module> {
  try {
    return await module
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') {
      throw new MillraceError('bad_request', `${peer} models need the package ${peer}: npm install ${peer}`, {
        cause: error,
      })
    }
    throw error
  }
}
