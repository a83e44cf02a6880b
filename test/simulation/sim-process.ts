import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Socket, SocketAcceptor, SocketEvents, Transport } from '../../server/index.ts'
import type { Chance, VirtualTime } from './virtual-time.ts'
import { microtasks, pauseOf } from './virtual-time.ts'

/** How the clocks of a process differ from the time of the world. */
type Skew = { readonly wallMs: number; readonly rate: number }

/**
 * A process: its clocks, timers and sockets. Everything from outside comes to it by `enter`. While it is frozen, that
 * waits; once it is dead, it is dropped, so that nothing that the process was about to do ever happens.
 */
export class SimProcess implements Runtime {
  readonly name: string
  readonly #time: VirtualTime
  readonly #skew: Skew
  #state: 'live' | 'frozen' | 'dead' = 'live'
  #held: (() => void)[] = []
  /** By how much its clock is behind, because it stood still itself. */
  #stoodMs = 0
  #frozenAt = 0
  #acceptor: SocketAcceptor | undefined
  readonly #sockets = new Set<Socket>()

  constructor(name: string, time: VirtualTime, skew: Skew) {
    this.name = name
    this.#time = time
    this.#skew = skew
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen'
  }

  // --- what happens to it

  enter(callback: () => void): void {
    if (this.#state === 'live') callback()
    else if (this.#state === 'frozen') this.#held.push(callback)
  }

  freeze(): void {
    this.#state = 'frozen'
    this.#frozenAt = this.#time.now()
  }

  /** It goes on with all that came meanwhile. @param clock `stood`: its clock stood too, as on a paused machine. */
  async thaw(clock: 'ran' | 'stood'): Promise<void> {
    if (this.#state !== 'frozen') return
    this.#state = 'live'
    if (clock === 'stood') this.#stoodMs += this.#time.now() - this.#frozenAt
    const held = this.#held
    this.#held = []
    for (const callback of held) {
      this.enter(callback)
      await microtasks()
    }
  }

  kill(): void {
    this.#state = 'dead'
    this.#held = []
    this.#acceptor = undefined
    for (const socket of [...this.#sockets]) socket.terminate()
    this.#sockets.clear()
  }

  // --- its code

  /** Resolves at once, or never: what a dead process does never ends, and nobody sees it. */
  live(): Promise<void> {
    return this.isDead ? new Promise(() => {}) : Promise.resolve()
  }

  /** Resolves when `ms` have passed by its clock; rejects with the reason of `signal`. */
  pause(signal: AbortSignal, ms: number): Promise<void> {
    return pauseOf(this, signal, ms)
  }

  // --- clocks and timers

  now(): number {
    return (this.#time.now() - this.#stoodMs) * this.#skew.rate + 1_000
  }

  wallClock(): number {
    return this.#time.wallClock() + this.#skew.wallMs
  }

  setTimer(ms: number, callback: () => void): Timer {
    // As in Node, whole milliseconds have passed then by the clock of the process.
    return this.#time.setTimer(Math.ceil(ms) / this.#skew.rate + 0.001, () => this.enter(callback))
  }

  nextTurn(callback: () => void): void {
    this.#time.nextTurn(() => this.enter(callback))
  }

  randomBytes(length: number): Uint8Array {
    return this.#time.randomBytes(length)
  }

  random(): number {
    return this.#time.random()
  }

  // --- sockets

  /** It listens, and a connection would come to it. */
  get isAccepting(): boolean {
    return this.#acceptor !== undefined
  }

  get transport(): Transport {
    return {
      name: 'memory',
      listen: (acceptor) => {
        this.#acceptor = acceptor
        return Promise.resolve({ port: 1 })
      },
      stopAccepting: () => void (this.#acceptor = undefined),
      close: () => Promise.resolve(),
    }
  }

  accept(socket: Socket): SocketEvents {
    const acceptor = this.#acceptor
    this.#sockets.add(socket)
    let events: SocketEvents | undefined
    this.enter(() => {
      events = acceptor?.accept(socket, 'known')
    })
    const on = (call: (events: SocketEvents) => void): void => this.enter(() => events && call(events))
    return {
      arrived: (bytes) => on((to) => to.arrived(bytes)),
      message: (bytes) => on((to) => to.message(bytes)),
      text: (text) => on((to) => to.text(text)),
      drain: () => on((to) => to.drain()),
      closed: (code) => {
        this.#sockets.delete(socket)
        on((to) => to.closed(code))
      },
    }
  }
}

/** Takes each new connection to one of the processes that listen, as a proxy does: also to one that is frozen. */
export class ProcessProxy implements SocketAcceptor {
  readonly #processes: () => readonly SimProcess[]
  readonly #chance: Chance

  constructor(processes: () => readonly SimProcess[], chance: Chance) {
    this.#processes = processes
    this.#chance = chance
  }

  verify(): { ok: true } {
    return { ok: true }
  }

  accept(socket: Socket): SocketEvents {
    const open = this.#processes().filter(({ isAccepting }) => isAccepting)
    if (open.length > 0) return this.#chance.pick(open).accept(socket)
    socket.terminate()
    return { arrived() {}, message() {}, text() {}, drain() {}, closed() {} }
  }
}
