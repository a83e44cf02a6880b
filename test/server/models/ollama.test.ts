import { ollama } from '../../../server/models/ollama.ts'
import { providerSuite } from '../../conformance/model.ts'

providerSuite({
  provider: 'ollama',
  make: (name, host, options) => ollama(name, { ...options, host, env: {} }),
  streamsArgs: false,
})
