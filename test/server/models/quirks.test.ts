import { anthropic } from '../../../server/models/anthropic.ts'
import { gemini } from '../../../server/models/gemini.ts'
import { ollama } from '../../../server/models/ollama.ts'
import { openai } from '../../../server/models/openai.ts'
import { quirkSuite } from '../../conformance/quirks.ts'

quirkSuite({
  dialect: 'openai',
  make: (name, host, options) => openai(name, { ...options, baseURL: `${host}/v1`, env: {} }),
})
quirkSuite({ dialect: 'ollama', make: (name, host, options) => ollama(name, { ...options, host, env: {} }) })
quirkSuite({
  dialect: 'responses',
  make: (name, host, options) => openai(name, { ...options, api: 'responses', baseURL: `${host}/v1`, env: {} }),
})
quirkSuite({
  dialect: 'anthropic',
  make: (name, host, options) => anthropic(name, { ...options, baseURL: host, env: {} }),
})
quirkSuite({ dialect: 'gemini', make: (name, host, options) => gemini(name, { ...options, baseURL: host, env: {} }) })
