/**
 * `npm run cluster`: two servers, a Redis of their own and one address in front of both, as processes of this machine. It is
 * what `examples/deploy/compose.yaml` starts where Docker is. Ctrl-C drains the servers and ends all. Needs redis-server.
 *
 *   npm run cluster -- --port 8080      another port than 7400, at which clients connect
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const SERVERS = 2
const MAIN = fileURLToPath(new URL('../dist/server/cli/main.js', import.meta.url))
const wanted = portOf(process.argv.slice(2))
const token = process.env.MILLRACE_TOKEN || 'cluster'

/** The servers that take connections. The next one goes to the first, which then stands last. */
const upstream = []
const proxy = createServer((client) => pass(client.on('error', () => {})))
// Before anything is begun: a port that is in use costs nothing.
await listen()

const folder = await mkdtemp(join(tmpdir(), 'millrace-cluster-'))
/** All processes, in the order in which they were begun. */
const begun = []
let isLeaving = false

/** The port that was asked for. */
function portOf(args) {
  try {
    const { port } = parseArgs({ args, options: { port: { type: 'string', default: '7400' } } }).values
    if (/^\d+$/.test(port) && Number(port) <= 65_535) return Number(port)
    return refuse(`--port takes a whole number from 0 to 65535, not ${port}`)
  } catch (error) {
    return refuse(error.message)
  }
}

function refuse(why) {
  console.error(why)
  process.exit(2)
}

async function listen() {
  proxy.listen(wanted, '127.0.0.1')
  try {
    await once(proxy, 'listening')
  } catch ({ code }) {
    const what = code === 'EADDRINUSE' ? 'is in use' : `cannot be used (${code})`
    refuse(`port ${wanted} ${what}: choose another one with npm run cluster -- --port PORT`)
  }
}

/** Begins a process. What it says is printed behind its name. It has a group of its own, which gets no Ctrl-C. */
function begin(name, command, args, env = {}) {
  const stdio = ['ignore', 'pipe', 'pipe']
  const child = spawn(command, args, { detached: true, stdio, env: { ...process.env, ...env } })
  const ended = new Promise((resolve) => {
    child.once('error', (error) =>
      resolve(error.code === 'ENOENT' ? `${command} is missing: install it` : error.message),
    )
    child.once('exit', (code, signal) => resolve(signal ?? code))
  })
  begun.push({ name, child, ended })
  void ended.then((how) => {
    if (!isLeaving) void leave(`${name} ended: ${how}`, 1)
  })
  child.stderr.setEncoding('utf8').on('data', (text) => process.stderr.write(text.replaceAll(/^(?=.)/gm, `${name}: `)))
  return child
}

/** Resolves when a process has said this. */
function said(child, words) {
  return new Promise((resolve) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (more) => {
      text += more
      if (text.includes(words)) resolve()
    })
  })
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

/** Ends the servers, then what they need. */
async function leave(why, code) {
  if (isLeaving) return
  isLeaving = true
  console.error(why)
  proxy.close()
  const [redis, ...servers] = begun
  for (const { child } of servers) child.kill('SIGTERM')
  await Promise.all(servers.map(({ ended }) => ended))
  redis?.child.kill('SIGTERM')
  await redis?.ended
  await rm(folder, { recursive: true, force: true })
  process.exit(code)
}

// SIGHUP: the terminal was closed.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    // The second one does not wait.
    if (!isLeaving) return void leave('the servers drain', 0)
    for (const { child } of begun) child.kill('SIGKILL')
    process.exit(130)
  })

/** Passes a connection to a server, or to the next one if that does not answer. */
function pass(client, tries = upstream.length) {
  const port = upstream.shift()
  if (port === undefined) return void client.destroy()
  upstream.push(port)
  const server = connect(port, '127.0.0.1')
  server.once('error', () => (tries > 1 ? pass(client, tries - 1) : client.destroy()))
  server.once('connect', () => {
    server.removeAllListeners('error').on('error', () => client.destroy())
    if (client.destroyed) return server.destroy()
    client
      .on('error', () => server.destroy())
      .pipe(server)
      .pipe(client)
  })
}

const redisPort = await freePort()
const redisArgs = ['--port', `${redisPort}`, '--bind', '127.0.0.1', '--dir', folder, '--appendonly', 'yes']
await said(begin('redis', 'redis-server', redisArgs), 'Ready to accept connections')
const ports = []
for (let n = 1; n <= SERVERS; n++) {
  const port = await freePort()
  const args = [MAIN, 'serve', '--port', `${port}`, '--redis', `redis://127.0.0.1:${redisPort}`]
  await said(begin(`server ${n}`, process.execPath, args, { MILLRACE_TOKEN: token }), 'listens on')
  ports.push(port)
}
upstream.push(...ports)
const url = `ws://127.0.0.1:${proxy.address().port}`
console.log(`Redis at port ${redisPort}, servers at ports ${ports.join(' and ')}; clients connect to ${url}

In a second terminal:

  node dist/server/cli/main.js run chat "Tell me about millrace" --stream --url ${url} --token ${token}
  node dist/server/cli/main.js ls --all --url ${url} --token ${token}

Kill one server (${begun
  .slice(1)
  .map(({ child }) => child.pid)
  .join(' or ')}) and see what the other one does. Ctrl-C ends all.`)
