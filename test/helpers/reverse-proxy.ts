import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { Command } from './command.ts'
import { freePort } from './free-port.ts'
import { installed } from './installed.ts'
import { root } from './root.ts'

/** Where the programs are, if they are here. */
export const NGINX: string | undefined = installed({
  name: 'nginx',
  debianPackage: 'nginx-light',
  tests: 'the tests of examples/deploy/nginx.conf',
})
export const CADDY: string | undefined = installed({
  name: 'caddy',
  debianPackage: 'caddy',
  tests: 'the tests of examples/deploy/Caddyfile',
})
export const SYSTEMD_ANALYZE: string | undefined = installed({
  name: 'systemd-analyze',
  debianPackage: 'systemd',
  tests: 'the checks of examples/deploy/millrace.service',
})

/** A proxy in front of a server, started with a configuration of `examples/deploy/`. */
export interface ReverseProxy extends AsyncDisposable {
  readonly url: string
  /** Ends the proxy, and starts it again at the same address. */
  restart(): Promise<void>
}

/**
 * nginx with the site of `examples/deploy/nginx.conf`: TLS with the certificate of the tests. Several servers are those of
 * an `upstream`, as in `docs/deployment.md`.
 */
export async function nginx(
  upstream: string | readonly string[],
  changes: Record<string, string> = {},
): Promise<ReverseProxy> {
  const port = await freePort()
  const hosts = [upstream].flat().map((url) => new URL(url).host)
  const servers = hosts.map((host) => `server ${host};`).join(' ')
  const site = await deployFile('nginx.conf', {
    '443 ssl': `127.0.0.1:${port} ssl`,
    'limit_conn_zone ': `upstream agents { ${servers} }\nlimit_conn_zone `,
    '127.0.0.1:7400;': 'agents;',
    '/etc/letsencrypt/live/agents.example.com/fullchain.pem': `${root}test/helpers/tls/cert.pem`,
    '/etc/letsencrypt/live/agents.example.com/privkey.pem': `${root}test/helpers/tls/key.pem`,
    ...changes,
  })
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`)
  const main = `daemon off; pid nginx.pid; events {} http { access_log off; ${folders.join(' ')} include site.conf; }`
  return proxy(`wss://127.0.0.1:${port}`, { 'nginx.conf': main, 'site.conf': site }, (folder) => [
    NGINX!,
    ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'],
  ])
}

/** Caddy with `examples/deploy/Caddyfile`, without TLS: it would have to obtain a certificate. */
export async function caddy(upstream: string | readonly string[]): Promise<ReverseProxy> {
  const port = await freePort()
  const site = await deployFile('Caddyfile', {
    'agents.example.com {': `http://127.0.0.1:${port} {`,
    '127.0.0.1:7400': [upstream]
      .flat()
      .map((url) => new URL(url).host)
      .join(' '),
  })
  // No port for its own administration.
  const global = '{\n\tadmin off\n}\n'
  return proxy(`ws://127.0.0.1:${port}`, { Caddyfile: global + site }, (folder) => [
    CADDY!,
    ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile'],
  ])
}

/** The class of `ws` with headers of a page, and with trust in the certificate of the tests. */
export function webSocketWith(headers: Record<string, string> = {}): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, subprotocols?: string | string[]) {
      super(url, subprotocols, { headers, rejectUnauthorized: false })
    }
  } as typeof WebSocket
}

/**
 * A file of `examples/deploy/` with each text replaced.
 * @throws Error if the file does not have one of them, so that a changed file cannot be tested as it was.
 */
export async function deployFile(name: string, changes: Record<string, string>): Promise<string> {
  let text = await readFile(`${root}examples/deploy/${name}`, 'utf8')
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`${name} does not have ${from}`)
    text = text.replaceAll(from, to)
  }
  return text
}

async function proxy(
  url: string,
  files: Record<string, string>,
  commandIn: (folder: string) => [program: string, args: string[]],
): Promise<ReverseProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-proxy-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const port = Number(new URL(url).port)
  const start = async (): Promise<Command> => {
    const [program, args] = commandIn(folder)
    const command = new Command(program, args, { cwd: folder, env: { HOME: folder, XDG_DATA_HOME: folder } })
    await listening(port, command)
    return command
  }
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true })
  let running = await start().catch(async (error: unknown) => {
    await remove()
    throw error
  })
  const stop = async (): Promise<void> => {
    // nginx is several processes: SIGTERM to the first ends them all.
    running.kill('SIGTERM')
    await running.ended
  }
  return {
    url,
    async restart() {
      await stop()
      running = await start()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await remove()
    },
  }
}

/** Resolves when the port accepts a connection. Rejects with the command's words if it ends before. */
async function listening(port: number, command: Command): Promise<void> {
  let ended: string | undefined
  void command.ended.then(({ code, stderr }) => (ended = `the proxy ended with ${String(code)}: ${stderr}`))
  for (;;) {
    if (ended !== undefined) throw new Error(ended)
    const accepted = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (accepted) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
