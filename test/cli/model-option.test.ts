import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { parseModel } from '../../server/cli/model-option.ts'

describe('a model named on the command line', () => {
  test.each([
    ['demo', {}],
    ['openai:gpt-5-mini', { OPENAI_API_KEY: 'sk-1' }],
    ['openai:local', { OPENAI_BASE_URL: 'http://127.0.0.1:1/v1' }],
    ['ollama:llama3.2:1b', {}],
    ['anthropic:claude-sonnet-5-5', { ANTHROPIC_API_KEY: 'sk-1' }],
    ['gemini:gemini-3-flash', { GOOGLE_API_KEY: 'k-1' }],
  ])('%s is that model', async (named, env) => {
    expect((await parseModel(named, env)).id).toBe(named)
  })

  test.each([
    [
      'gpt-5-mini',
      'unknown model gpt-5-mini: write one of demo, anthropic:NAME, gemini:NAME, ollama:NAME, openai:NAME',
    ],
    ['', 'write one of demo, '],
    ['constructor:x', 'write one of demo, '],
    ['openai', 'openai needs the name of a model, such as openai:gpt-5-mini'],
    ['ollama:', 'ollama needs the name of a model, such as ollama:llama3.2'],
    ['openai:gpt-5-mini', 'set OPENAI_API_KEY'],
    ['anthropic:claude-sonnet-5-5', 'set ANTHROPIC_API_KEY'],
    ['gemini:gemini-3-flash', 'set GEMINI_API_KEY or GOOGLE_API_KEY'],
  ])('%j is refused in one line that says what to write', async (named, says) => {
    const refused = parseModel(named, {})
    await expect(refused).rejects.toMatchObject({ code: 'bad_request', message: expect.stringContaining(says) })
    await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('\n') })
  })

  test.each([
    ['openai', 'openai'],
    ['ollama', 'ollama'],
    ['anthropic', '@anthropic-ai/sdk'],
    ['gemini', '@google/genai'],
  ])('%s whose package %s is not installed is refused with the line that installs it', async (provider, peer) => {
    // A process in which that package cannot be found.
    const hooks = `export async function resolve(specifier, context, next) {
      if (specifier !== '${peer}') return next(specifier, context)
      throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
    }`
    const register = `import { register } from 'node:module'; register('data:text/javascript,' + ${JSON.stringify(encodeURIComponent(hooks))})`
    const script = `const { parseModel } = await import('./server/cli/model-option.ts')
      parseModel('${provider}:any', { OPENAI_API_KEY: 'sk-1' }).catch((error) => console.log(error.code + ': ' + error.message))`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        '--import',
        'tsx',
        '--import',
        `data:text/javascript,${encodeURIComponent(register)}`,
        '--input-type=module',
        '-e',
        script,
      ],
      { cwd: fileURLToPath(new URL('../..', import.meta.url)) },
    )
    expect(stdout).toBe(`bad_request: ${provider} models need the package ${peer}: npm install ${peer}\n`)
  })
})
