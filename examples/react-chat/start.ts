// Serves the page, and the agents at one path of the same server: `npx tsx examples/react-chat/start.ts`.
import react from '@vitejs/plugin-react'
import { bearer, createServer } from 'millrace/server'
import { servePage } from '../serve-page.ts'
import { actors } from './actors.ts'

// Every page of this example is the same user. See docs/authentication.md for real ones.
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
await servePage(server, new URL('.', import.meta.url), { plugins: [react()] })
