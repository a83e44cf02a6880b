import { randomBytes } from 'node:crypto'
import type { Principal } from '../actors/principal.ts'
import { loopOf } from '../agents/agent.ts'
import { type Authenticate, bearer } from '../sessions/auth.ts'
import { isLoopback } from '../sessions/client-address.ts'
import { type Config, loadConfig } from './config-file.ts'
import { DEFAULT_HOST, DEFAULT_PORT, DEFAULT_URL } from './default-address.ts'
import { addConversation } from './demo-conversation.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { invocation } from './invocation.ts'
import { MODEL_NAMES } from './model-option.ts'
import { addNotify, notifyOptions } from './notify-option.ts'
import type { Output } from './output.ts'
import { addDashboard, addMcp, addMetrics, addReplay, addStore, placeOf, placeWords } from './serve-additions.ts'
import { checkNode, ServedNode } from './serve-node.ts'
import { freePort, serveNodes } from './serve-nodes.ts'
import { commonOptions, create, DEFAULT_DRAIN_S, drained, modelWords, type Options } from './server-process.ts'
import { speedOption } from './speed-option.ts'
import { parseTransport } from './transport-option.ts'
import { type Command, readArgs, readNumber } from './usage.ts'
import { version } from './version.ts'

/** More than any machine has cores for. */
const MOST_WORKERS = 1_000
const SHARED_PORTS = ['port', 'http-port'] as const

const usage = {
  name: 'serve',
  about:
    'Serves actors over WebSocket and plain HTTP. Ctrl-C, SIGTERM or a closed terminal drains the server; a second Ctrl-C quits at once.',
  notes: [
    'Keys of models come from ANTHROPIC_API_KEY, GEMINI_API_KEY and OPENAI_API_KEY, addresses from OLLAMA_HOST and OPENAI_BASE_URL (a compatible server needs no key).',
  ],
  args: [],
  options: {
    port: { type: 'string', value: 'PORT', about: 'Port to listen on; 0 takes a free one. Default 7400.' },
    host: {
      type: 'string',
      value: 'ADDRESS',
      about: 'Address to listen on; 0.0.0.0 is every address of this machine. Default 127.0.0.1.',
    },
    token: {
      type: 'string',
      value: 'TOKEN',
      about: 'Token that clients must send. Default: MILLRACE_TOKEN, else a random one, which is printed.',
    },
    model: {
      type: 'string',
      value: 'MODEL',
      about: `Model of the agents, one of ${MODEL_NAMES}. Default: MILLRACE_MODEL, else demo.`,
    },
    config: {
      type: 'string',
      value: 'FILE',
      about: 'Module whose default export has options of createServer, such as { actors, authenticate }.',
    },
    transport: {
      type: 'string',
      value: 'NAME',
      about: 'Transport: ws, or uws, which needs the package uWebSockets.js. Default ws.',
    },
    'http-port': {
      type: 'string',
      value: 'PORT',
      about: 'Port of its own for plain HTTP; 0 takes a free one. Default: that of the WebSockets. uws needs one.',
    },
    data: {
      type: 'string',
      value: 'DIR',
      about:
        'Folder in which runs are stored, so that they outlive the server; needs the package libsql. Default: none.',
    },
    redis: {
      type: 'string',
      value: 'URL',
      multiple: true,
      about:
        'Redis in which runs are stored and shared with other servers; needs the package redis. Repeat it to spread runs over several. Default: MILLRACE_REDIS, several with spaces between them, else none.',
    },
    durability: {
      type: 'string',
      value: 'MODE',
      about: 'With --data or --redis: eager sends to clients at once, logged once it is stored. Default eager.',
    },
    metrics: {
      type: 'boolean',
      about:
        'Answer GET /metrics, in the format of Prometheus, to programs on this machine and to who sends the token, which gets the right observe; needs the package prom-client.',
    },
    ...notifyOptions,
    replay: {
      type: 'string',
      value: 'FILE',
      about: 'Recording to serve in place of the demo actors: each start of its actor replays it, whatever the input.',
    },
    ...speedOption,
    reference: {
      type: 'boolean',
      about:
        'Serve the reference actors in place of the demo actors, with the small limits that millrace verify expects.',
    },
    drain: {
      type: 'string',
      value: 'SECONDS',
      about: 'Time limit for runs to end when the server drains. Default 10.',
    },
    workers: {
      type: 'string',
      value: 'COUNT',
      about: 'Processes that share the port, each a server of its own; needs --redis. Default 1.',
    },
    mcp: {
      type: 'boolean',
      about: 'Also serve the actors as MCP tools at /mcp; needs the package @modelcontextprotocol/server.',
    },
    dashboard: {
      type: 'boolean',
      about: 'Show the dashboard at /, in a browser. Default: only where --host is an address of loopback.',
    },
    verbose: { type: 'boolean', about: 'Also print connections and runs. Default: only warnings and errors.' },
  },
  examples: [
    'millrace serve',
    'millrace serve --model ollama:llama3.2',
    'OPENAI_BASE_URL=http://127.0.0.1:8000/v1 millrace serve --model openai:my-model',
    'millrace serve --config ./actors.mjs --port 8080',
    'millrace serve --data ./data',
    'millrace serve --redis redis://127.0.0.1:6379 --workers 4',
    'millrace serve --replay answer.millrace --speed 2',
    'millrace serve --mcp',
    'millrace serve --host 0.0.0.0 --dashboard',
    'millrace serve --reference --token s3cret',
  ],
} as const

type Flag = 'dashboard' | 'mcp' | 'metrics' | 'reference' | 'verbose'
type List = 'redis' | 'notify-allow'
type Values = { readonly [Name in Exclude<keyof typeof usage.options, Flag | List>]?: string } & {
  readonly [Name in Flag]?: boolean
} & { readonly [Name in List]?: readonly string[] }

/** How clients are authenticated: by a random token, by a token that the user set, or by the config file. */
type Access = { kind: 'made' | 'chosen'; token: string } | { kind: 'own'; authenticate: Authenticate }

/** `millrace serve` */
export const serve: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values } = readArgs(usage, args)
    const port = readNumber('--port', values.port ?? String(DEFAULT_PORT), { min: 0, max: 65_535 })
    const drainS = readNumber('--drain', values.drain ?? String(DEFAULT_DRAIN_S), { min: 0, max: 86_400 })
    const workers = readNumber('--workers', values.workers ?? '1', { min: 1, max: MOST_WORKERS })
    if (workers > 1 && values.reference)
      throw new Failure(EXIT.usage, '--reference is for one process, which the kit judges: leave --workers out')
    const node = workers > 1 ? await ServedNode.join() : undefined
    if (workers > 1 && !node) {
      const ports = await Promise.all(SHARED_PORTS.map((name) => sharedPort(name, values)))
      return await serveNodes({ count: workers, args: [...args, ...ports.flat()], drainS }, output)
    }
    const config = values.config === undefined ? {} : await loadConfig(values.config)
    const access = accessOf(values, config, node)
    const options = await optionsOf(values, config, access, output)
    if (values['http-port'] !== undefined)
      options.httpPort = readNumber('--http-port', values['http-port'], { min: 0, max: 65_535 })
    // The greeting says it. The server would warn of an option that nobody has set.
    const isOff = options.transport?.takesRequests === undefined && options.transport && options.httpPort === undefined
    if (isOff && config.http === undefined) options.http = false
    const replayed = await addReplay(options, values, config)
    const other = values.reference
      ? (await import('./reference-server.ts')).addReference(options, values, config)
      : undefined
    if (values.mcp) await addMcp(options)
    const place = placeOf(values, config)
    await addStore(options, place, values.durability)
    await addConversation(options)
    if (node) checkNode(options)
    if (values.metrics) await addMetrics(options, node)
    const hasDashboard = addDashboard(options, values)
    const notified = await addNotify(options, values)
    const server = create(options, values.config)
    const { url, httpUrl } = await server.listen(port, values.host)
    const rows = [
      ['http', httpWords(httpUrl, config)],
      ...(values.mcp ? [['mcp', `${httpUrl}/mcp`]] : []),
      ...(values.metrics ? [['metrics', `${httpUrl}/metrics`]] : []),
      ...(place ? [['data', placeWords(place)]] : []),
      ...(notified === undefined ? [] : [['notify', notified]]),
      ...(replayed ? [['replay', replayed]] : []),
      ...(hasDashboard || httpUrl === undefined || isLoopback(values.host ?? DEFAULT_HOST)
        ? []
        : [['page', DASHBOARD_OFF]]),
      ...(node ? [['workers', `${workers} processes`]] : []),
      ...(other === undefined ? [] : [['other', `${other} (random; the token of another principal)`]]),
    ]
    const page = hasDashboard && httpUrl !== undefined ? pageUrl(httpUrl, access) : undefined
    const words = greeting(url, rows, options, access, { page, other, isEverywhere: isEverywhere(values.host) })
    if (node) node.listens(words)
    else await output.answer(words)
    await drained(server, drainS, output, node)
    return EXIT.ok
  },
}

/** A port that all workers can name, in place of one that each would choose for itself. */
async function sharedPort(name: (typeof SHARED_PORTS)[number], { host, ...values }: Values): Promise<string[]> {
  return values[name] === '0' ? [`--${name}`, `${await freePort(host ?? DEFAULT_HOST)}`] : []
}

function accessOf({ token }: Values, { authenticate }: Config, node: ServedNode | undefined): Access {
  if (authenticate) {
    if (token !== undefined)
      throw new Failure(EXIT.usage, 'the config file has its own authenticate: leave --token out')
    return { kind: 'own', authenticate }
  }
  const chosen = token ?? (process.env['MILLRACE_TOKEN'] || undefined)
  if (chosen === undefined) return { kind: 'made', token: node?.token ?? randomBytes(16).toString('hex') }
  return { kind: 'chosen', token: chosen }
}

/**
 * Who sends the token. With metrics it may read them, so that there is one token to give to Prometheus. For the conformance
 * kit, it is one of two principals with equal rights.
 */
function holderOf({ metrics = false, reference = false }: Values): Principal {
  return { id: 'cli', ...(metrics && !reference && { rights: ['observe'] }) }
}

async function optionsOf(values: Values, config: Config, access: Access, output: Output): Promise<Options> {
  const authenticate = access.kind === 'own' ? access.authenticate : bearer({ [access.token]: holderOf(values) })
  return {
    http: true,
    ...(await commonOptions(values, config, authenticate, output)),
    ...(values.transport === undefined ? {} : { transport: await parseTransport(values.transport) }),
  }
}

const DASHBOARD_OFF = 'off, as others may reach this server; --dashboard shows the dashboard'

/** Whether a server with this host listens on every address of the machine. */
function isEverywhere(host: string | undefined): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** The text that the server prints when it listens: its address, its contents, and a command to paste. */
function greeting(
  url: string,
  rows: readonly string[][],
  options: Options,
  access: Access,
  {
    page,
    other,
    isEverywhere,
  }: { readonly page: string | undefined; readonly other: string | undefined; readonly isEverywhere: boolean },
): string {
  const { actors, defaultModel } = options
  const line = [
    ...(other === undefined
      ? [`${invocation()} run ${callWords(actors)} --stream`, ...(url === DEFAULT_URL ? [] : [`--url ${url}`])]
      : [`${invocation()} verify ${url} --other-token ${other}`]),
    ...(access.kind === 'made' ? [`--token ${access.token}`] : []),
  ]
  return [
    `millrace ${version()} listens on ${url}${isEverywhere ? ' and on every other address of this machine' : ''}`,
    '',
    `  actors  ${Object.keys(actors).join(', ')}`,
    `  model   ${modelWords(defaultModel)}`,
    `  token   ${tokenWords(access)}`,
    ...rows.map(([name = '', words = '']) => `  ${name.padEnd(7)} ${words}`),
    '',
    pasteWords(access),
    '',
    `  ${line.join(' ')}`,
    '',
    ...(page === undefined ? [] : ['Open the dashboard in a browser:', '', `  ${page}`, '']),
    `Ctrl-C there ${other === undefined ? 'cancels the run' : 'ends it'}. Ctrl-C here drains this server.`,
    '',
  ].join('\n')
}

/** What `millrace run` is told: an actor, and an input that it takes. */
function callWords(actors: Options['actors']): string {
  const name = 'chat' in actors ? 'chat' : (Object.keys(actors)[0] ?? '')
  const chosen = actors[name]
  if (chosen && loopOf(chosen)) return `${name} "Tell me about millrace"`
  return chosen?.input === undefined ? name : `${name} INPUT`
}

function pasteWords({ kind }: Access): string {
  switch (kind) {
    case 'made':
      return 'Paste this into a second terminal, in the same folder:'
    case 'chosen':
      return 'In a second terminal, in the same folder, with MILLRACE_TOKEN set:'
    case 'own':
      return 'In a second terminal, in the same folder, with MILLRACE_TOKEN set to a token that the config file accepts:'
  }
}

/** The address of the dashboard. Nothing behind the `#` is sent anywhere, and the page takes it away at once. */
function pageUrl(httpUrl: string, access: Access): string {
  return access.kind === 'made'
    ? `${httpUrl}/#token=${access.token}`
    : `${httpUrl}/ (it asks for your token, or takes it as ${httpUrl}/#token=TOKEN)`
}

function httpWords(httpUrl: string | undefined, { http }: Config): string {
  if (httpUrl !== undefined) return `${httpUrl}/runs (${httpUrl}/openapi.json lists the paths of runs)`
  return http === false
    ? 'off, as set by the config file'
    : 'off: this transport takes WebSockets only; set --http-port'
}

function tokenWords(access: Access): string {
  switch (access.kind) {
    case 'made':
      return `${access.token} (random; set your own with --token)`
    case 'chosen':
      return 'as set with --token or MILLRACE_TOKEN'
    case 'own':
      return 'as set by the config file'
  }
}
