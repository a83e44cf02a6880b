/** The process of a server: it serves one peer, and reports what is measured. */
import type { ServeOptions } from '../peers/peer.ts'
import { PEERS, type PeerName } from '../peers/peers.ts'
import { machineUs, until } from '../stage/clock.ts'
import { answerCommands } from '../stage/commands.ts'
import { beginWindow, type Spent, spentInWindow, watchLag } from './cpu-window.ts'
import { memory } from './memory.ts'
import {
  atGate,
  endAll,
  openGate,
  produced,
  stoppedAt,
  type TokenRequest,
  tokens,
  totalProduced,
} from './token-source.ts'

export type ServerProcessOptions = ServeOptions & {
  /** Without one there is no server: the token source alone. */
  peer?: PeerName
}

const { peer, ...serveOptions } = JSON.parse(process.argv[2]!) as ServerProcessOptions
const serving = peer === undefined ? undefined : PEERS[peer]().then((found) => found.serve(serveOptions))

/** Tokens that were made before the window began. */
let producedBefore = 0
if (serveOptions.lag) watchLag()

function begin(): number {
  producedBefore = totalProduced()
  return beginWindow()
}

/** Looks often at what grows while a client does not read. */
let watch: { timer: NodeJS.Timeout; peakRss: number; peakBuffered: number; stuffed: boolean } | undefined

const commands = {
  async listening(): Promise<number> {
    return (await serving)?.port ?? 0
  },

  /** Resolves when so many streams stand at the gate. */
  gathered: (streams: number) => until(() => atGate() >= streams, 60_000, `all of ${streams} starts`),

  /** Opens the gate, with which a window begins. Returns when, in `machineUs`. */
  open(): number {
    const at = begin()
    openGate()
    return at
  },

  /** A window begins. */
  begin,

  /** What was spent and made since the window began. */
  spent: (): Spent & { produced: number } => ({ ...spentInWindow(), produced: totalProduced() - producedBefore }),

  produced: (id: string): number => produced(id),
  totalProduced: (): number => totalProduced(),

  /** When each of these was stopped, as far as it was. */
  stopped: (ids: readonly string[]): (number | undefined)[] => ids.map((id) => stoppedAt(id)),

  /** Ends all streams. */
  endAll: (): void => endAll(),

  memory: () => memory(),

  /** From now on peaks are noted; above so many bytes of memory the source is ended, and so is the growth. */
  async watch(mostRss: number): Promise<void> {
    const server = await serving
    const timer = setInterval(look, 50)
    const noting = { timer, peakRss: 0, peakBuffered: 0, stuffed: false }
    watch = noting
    function look(): void {
      noting.peakRss = Math.max(noting.peakRss, process.memoryUsage.rss())
      noting.peakBuffered = Math.max(noting.peakBuffered, server?.bufferedAmount?.() ?? 0)
      if (noting.peakRss < mostRss || noting.stuffed) return
      noting.stuffed = true
      endAll()
    }
  },

  /** The peaks until now, and whether it was given up. @param ends whether to look no more. */
  watched(ends: boolean): { peakRss: number; peakBuffered: number; stuffed: boolean } {
    const { peakRss = 0, peakBuffered = 0, stuffed = false, timer } = watch ?? {}
    if (ends) clearInterval(timer)
    return { peakRss, peakBuffered, stuffed }
  },

  async cut(): Promise<number> {
    const server = await serving
    const at = machineUs()
    server?.cut?.()
    return at
  },

  /** Sends to all that joined; resolves when the last was sent. */
  async broadcast(request: TokenRequest): Promise<void> {
    const server = await serving
    if (!server?.broadcast) throw new Error('this peer does not broadcast')
    await server.broadcast(request)
  },

  /** Reads `streams` streams to their end, in this process: what the source itself costs. */
  async drain({ streams, request }: { streams: number; request: Omit<TokenRequest, 'id'> }): Promise<void> {
    const never = new AbortController().signal
    const one = async (id: string): Promise<void> => {
      for await (const _text of tokens({ ...request, id }, never));
    }
    await Promise.all(Array.from({ length: streams }, (_, n) => one(`${n}`)))
  },
}

export type ServerCommands = typeof commands

answerCommands(commands)
