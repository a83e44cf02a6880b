// A page with Vue: `npx tsx examples/vue-chat/start.ts`. A run becomes refs in one small function of its own.
import { agent, bearer, createServer, demo } from 'millrace/server'
import { servePage } from '../serve-page.ts'

const actors = { chat: agent({ model: demo({ tokensPerSec: 15 }) }) }
export type Actors = typeof actors

const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
await servePage(server, new URL('.', import.meta.url), {
  // The page has its template in its script: this build of Vue compiles it.
  resolve: { alias: { vue: 'vue/dist/vue.esm-bundler.js' } },
  define: {
    __VUE_OPTIONS_API__: 'false',
    __VUE_PROD_DEVTOOLS__: 'false',
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
  },
})
