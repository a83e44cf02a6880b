// The config file of `millrace serve --config`: what the deployed server serves, and to which clients.
import { agent, bearer } from 'millrace/server'

export default {
  actors: { chat: agent({ instructions: 'Answer in at most five sentences.' }) },
  // Without AGENTS_TOKEN the server does not start.
  authenticate: bearer({ [process.env.AGENTS_TOKEN ?? '']: 'alice' }),
  origins: ['https://app.example.com'],
}
