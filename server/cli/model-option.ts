import { MillraceError } from '../../protocol/errors.ts'
import { demo } from '../models/demo.ts'
import type { Model } from '../models/model.ts'

/**
 * Makes the model with the given name: `demo`, `openai:NAME` or `ollama:NAME`. It loads the provider's package.
 * @param env The source of `OPENAI_API_KEY`, `OPENAI_BASE_URL` and `OLLAMA_HOST`. Default `process.env`.
 * @throws MillraceError `bad_request` for an unknown provider, a missing name, a missing key, or a package that is not
 * installed. Its one line says what to do.
 */
export async function parseModel(
  named: string,
  env: { readonly [name: string]: string | undefined } = process.env,
): Promise<Model> {
  const colon = named.indexOf(':')
  const provider = colon === -1 ? named : named.slice(0, colon)
  // The name of an Ollama model may have a colon of its own: ollama:llama3.2:1b.
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
      throw new MillraceError('bad_request', `unknown model ${named}: write demo, openai:NAME or ollama:NAME`)
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
