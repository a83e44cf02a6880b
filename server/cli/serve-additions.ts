import { dashboard } from '../dashboard/dashboard.ts'
import type { HttpExtension } from '../http/extension.ts'
import { inspector } from '../inspector/inspector.ts'
import type { ServerOptions } from '../server-options.ts'
import { isLoopback } from '../sessions/client-address.ts'
import type { Config } from './config-file.ts'
import { dataFile } from './data-folder.ts'
import { EXIT, Failure } from './exit.ts'
import { withoutMcp } from './mcp-package.ts'
import type { ServedNode } from './serve-node.ts'
import { readSpeed } from './speed-option.ts'
import { version } from './version.ts'

type Options = ServerOptions<NonNullable<Config['actors']>>

/**
 * Serves the recording that `--replay` names.
 * @returns the recording in one line.
 */
export async function addReplay(
  options: Options,
  { replay: file, speed }: { replay?: string; speed?: string },
  config: Config,
): Promise<string | undefined> {
  if (file === undefined) {
    if (speed !== undefined) throw new Failure(EXIT.usage, '--speed needs --replay: name the recording')
    return undefined
  }
  if (config.actors) throw new Failure(EXIT.usage, 'the config file has its own actors: leave --replay out')
  const times = readSpeed(speed)
  const { openRecording } = await import('../recordings/recording.ts')
  const { replay } = await import('../recordings/replay.ts')
  const { recordingWords } = await import('./recording-words.ts')
  const recording = await openRecording(file)
  const { actor } = recording.facts
  const others = actor === 'inspector' ? {} : { inspector: inspector() }
  options.actors = { [actor]: replay(recording, { speed: times }), ...others }
  return recordingWords(recording)
}

/** Adds what `--mcp` asks for. */
export async function addMcp(options: Options): Promise<void> {
  const { http = true } = options
  if (http === false) throw new Failure(EXIT.usage, '--mcp needs plain HTTP, which is off: set --http-port, or http')
  const { mcp } = await import('../mcp/mcp-endpoint.ts').catch(withoutMcp('millrace serve --mcp'))
  options.http = { mcp: mcp({ version: version() }), ...(http === true ? {} : http) }
}

/**
 * Adds the dashboard, with the inspector that it reads: where it is asked for, and on a server that only this machine
 * reaches.
 * @returns whether the server has one.
 */
export function addDashboard(
  options: Options,
  { dashboard: isWanted = false, host = '127.0.0.1' }: { readonly dashboard?: boolean; readonly host?: string },
): boolean {
  const { http = false, actors } = options
  if (http === false) {
    if (isWanted) throw new Failure(EXIT.usage, '--dashboard needs plain HTTP, which is off: set --http-port, or http')
    return false
  }
  if (typeof http === 'object' && http.dashboard) return true
  if (!isWanted && !isLoopback(host)) return false
  let page: HttpExtension
  try {
    page = dashboard()
  } catch (error) {
    // Nobody has asked for it, and it is not built.
    if (!isWanted) return false
    throw error
  }
  options.http = { ...(http === true ? {} : http), dashboard: page }
  // A server without actors is refused, and the inspector alone is none of the application's.
  if (Object.keys(actors).length > 0 && !Object.hasOwn(actors, 'inspector'))
    options.actors = { ...actors, inspector: inspector() }
  return true
}

/** Where runs are stored: in a folder, or in Redis. */
export type Place = { readonly data: string } | { readonly redis: readonly string[] }

/** The place that the options name, or the environment. */
export function placeOf(
  { data, redis }: { data?: string; redis?: readonly string[] },
  config: Config,
): Place | undefined {
  if (data !== undefined && redis !== undefined)
    throw new Failure(EXIT.usage, '--data and --redis name two stores: leave one of them out')
  const chosen = data === undefined ? redis : undefined
  const named = data !== undefined ? '--data' : chosen ? '--redis' : undefined
  if (named !== undefined && config.store)
    throw new Failure(EXIT.usage, `the config file has its own store: leave ${named} out`)
  if (data !== undefined) return { data }
  const urls = chosen ?? (config.store ? [] : (process.env['MILLRACE_REDIS'] ?? '').split(/\s+/).filter(Boolean))
  return urls.length > 0 ? { redis: urls } : undefined
}

/** Adds the store that the options name. */
export async function addStore(
  options: Options,
  place: Place | undefined,
  durability: string | undefined,
): Promise<void> {
  if (durability !== undefined) {
    if (!place) throw new Failure(EXIT.usage, '--durability needs --data or --redis: name where runs are stored')
    if (durability !== 'eager' && durability !== 'logged')
      throw new Failure(EXIT.usage, `--durability must be eager or logged, not ${durability}`)
    options.durability = durability
  }
  if (!place) return
  if ('data' in place) {
    const { sqlite } = await import('../stores/sqlite/sqlite.ts')
    options.store = sqlite({ path: dataFile(place.data) })
  } else {
    const { redis } = await import('../stores/redis/redis.ts')
    options.store = redis({ url: place.redis })
    options.startWithoutStore = true
  }
}

/** Where runs are stored, without a password. */
export function placeWords(place: Place): string {
  if ('data' in place) return `${place.data}: runs outlive this server`
  const hosts = place.redis.map((url) => new URL(url).host).join(', ')
  return `Redis at ${hosts}: runs outlive this server, and are shared with others`
}

/** Adds the metrics that `--metrics` asks for. @param node this process, if it is one of several that share an address. */
export async function addMetrics(options: Options, node?: ServedNode): Promise<void> {
  if (options.metrics) throw new Failure(EXIT.usage, 'the config file has its own metrics: leave --metrics out')
  if (options.http === false) throw new Failure(EXIT.usage, '--metrics needs plain HTTP: set --http-port')
  const { prometheus } = await prometheusPackage()
  options.metrics = node ? node.shareMetrics(prometheus({ labels: { worker: `${node.n}` } })) : prometheus()
}

async function prometheusPackage() {
  try {
    return await import('../metrics/prometheus.ts')
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    if (!isMissing) throw error
    throw new Failure(EXIT.usage, '--metrics needs the package prom-client: npm install prom-client', error)
  }
}
