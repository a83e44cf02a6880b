import { ollama } from '../../../server/models/ollama.ts'
import { openai } from '../../../server/models/openai.ts'
import { quirkSuite } from '../../conformance/quirks.ts'

quirkSuite({
  dialect: 'openai',
  make: (name, host, options) => openai(name, { ...options, baseURL: `${host}/v1`, env: {} }),
})
quirkSuite({ dialect: 'ollama', make: (name, host, options) => ollama(name, { ...options, host, env: {} }) })
