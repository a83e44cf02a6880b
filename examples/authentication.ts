import { createServer as createHttpServer } from 'node:http'
import { SignJWT } from 'jose'
import { createClient } from 'millrace/client'
import { type Authenticate, agent, bearer, createServer, demo, jwt } from 'millrace/server'
import { WebSocket } from 'ws'

const actors = { chat: agent({ model: demo({ tokensPerSec: 45 }) }) }
const question = 'Tell me about millrace'

// Fixed tokens. alice starts a run, and an operator watches it, but cannot cancel it.
{
  const authenticate = bearer({
    'a-long-secret': 'alice',
    'another-long-secret': { id: 'operator', rights: ['observe'] },
  })
  await using server = createServer({ actors, authenticate })
  const { url } = await server.listen(0)
  const alice = createClient<typeof actors>(url, { token: 'a-long-secret' })
  const operator = createClient<typeof actors>(url, { token: 'another-long-secret' })

  const run = alice.start('chat', question)
  const { id } = await run.opened
  const view = operator.attach('chat', id)
  for await (const text of view.text()) {
    console.log('the operator reads:', text)
    break
  }
  console.log('the operator cancels:', await operator.attach('chat', id).cancel())
  console.log('alice cancels:', await run.cancel())

  const stranger = createClient<typeof actors>(url, { token: 'a guess' })
  await stranger.ask('chat', question).catch((error: unknown) => console.log('a stranger:', String(error)))
  await Promise.all([alice.close(), operator.close(), stranger.close()])
}

// Signed tokens that last about a second. The client asks for a new one, and its run goes on.
{
  const key = new TextEncoder().encode('a secret of at least thirty-two bytes')
  await using server = createServer({
    actors,
    authenticate: jwt({ key, algorithms: ['HS256'], issuer: 'https://login.example.com', audience: 'agents' }),
  })
  const { url } = await server.listen(0)
  let tokens = 0
  const client = createClient<typeof actors>(url, {
    // In a page, this is a request to your own server: fetch('/token').then((response) => response.text())
    token: () => {
      tokens++
      return new SignJWT({})
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject('alice')
        .setIssuer('https://login.example.com')
        .setAudience('agents')
        .setExpirationTime(Math.ceil(Date.now() / 1_000) + 1)
        .sign(key)
    },
  })
  const answer = await client.start('chat', question).result
  console.log('tokens:', tokens > 1 ? 'more than one' : tokens)
  console.log('the answer is whole:', answer.endsWith('.'))
  await client.close()
}

// Cookies of your own login, for pages of your own origin.
{
  const sessions = new Map([['5e55107', { user: 'alice', expiresAt: Date.now() + 3_600_000 }]])
  const byCookie: Authenticate = ({ headers }) => {
    const id = /(?:^|; )sid=([^;]+)/.exec(headers.get('cookie') ?? '')?.[1]
    const session = id === undefined ? undefined : sessions.get(id)
    return session && { id: session.user, expiresAt: session.expiresAt }
  }
  const http = createHttpServer((_, response) => {
    response.writeHead(204, { 'set-cookie': 'sid=5e55107; HttpOnly; Secure; SameSite=Strict; Path=/' }).end()
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as { port: number }
  await using server = createServer({
    actors,
    authenticate: byCookie,
    origins: ['https://app.example.com'],
    logger: {
      debug() {},
      info() {},
      warn: (fields, message) => console.log(`the operator reads: ${message}`, fields),
      error: console.error,
    },
  })
  server.attach(http, { path: '/agents' })

  // A browser stores the cookie and sends it, with the page's Origin, by itself. Node does not, so this class does.
  const login = await fetch(`http://127.0.0.1:${port}/login`, { method: 'POST' })
  const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? ''
  const page = (origin: string) =>
    class extends WebSocket {
      constructor(url: string, subprotocol: string) {
        super(url, subprotocol, { headers: { cookie, origin } })
      }
    }
  const connectFrom = (origin: string) =>
    createClient<typeof actors>(`ws://127.0.0.1:${port}/agents`, { WebSocket: page(origin), connectMs: 10_000 })
  const app = connectFrom('https://app.example.com')
  for await (const text of app.start('chat', question).text()) {
    console.log('a page of the app reads:', text)
    break
  }
  const other = connectFrom('https://other.example')
  await other.ask('chat', question).catch((error: unknown) => console.log('a page of another site:', String(error)))
  await Promise.all([app.close(), other.close()])
  http.close()
}
