import { openai } from '../../../server/models/openai.ts'
import { providerSuite } from '../../conformance/model.ts'

const CANARY = 'sk-canary-7c1f0b'

providerSuite({
  provider: 'openai',
  make: (name, host, options) => openai(name, { ...options, apiKey: CANARY, baseURL: `${host}/v1`, env: {} }),
  canary: CANARY,
  streamsArgs: true,
})
