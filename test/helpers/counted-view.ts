import { randomBytes } from 'node:crypto'
import { WebSocket } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { type DownFrame, type Gap, type Policy, SUBPROTOCOL, type UpFrame } from '../../protocol/frames.ts'
import { scanLimits } from './codec-paths.ts'
import { countOf, textOf } from './frame-items.ts'
import { counted } from './test-actors.ts'

/** Items after which what was read is granted again. */
const GRANT = 32

/**
 * One view of a run of `counter`, which keeps no item: each is looked at when it comes, and counted. So a thousand of them
 * fit in the process of a test.
 */
export class CountedView {
  readonly policy: Policy
  /** The item after the last that came or was said to be missing. */
  next = 1
  /** Items that came. */
  items = 0
  /** Frames in which several came as one text. */
  merged = 0
  readonly gaps: Gap[] = []
  /** Its run has ended, as item number `next`. */
  ended = false
  /** The first thing that contradicts what came before. */
  wrong: string | undefined
  /** Read and not granted again. */
  #owed = 0

  constructor(policy: Policy) {
    this.policy = policy
  }

  /** Items that were said to be missing. */
  get missing(): number {
    return this.gaps.reduce((sum, { from, next }) => sum + next - from, 0)
  }

  /** Takes a frame of its stream. Returns the credit to grant. */
  take(frame: DownFrame): number {
    if (frame.kind === 'gap') {
      this.#follows(frame.from)
      this.gaps.push(frame)
      this.next = frame.next
    } else if (frame.kind === 'end') {
      this.#follows(frame.seq)
      if (frame.outcome !== 'done') this.wrong ??= `it ended ${frame.outcome}: ${JSON.stringify(frame.data)}`
      this.ended = true
    } else if (frame.kind === 'delta') {
      this.#follows(frame.seq)
      const count = countOf(frame)
      const text = textOf(frame)
      if (text !== counted(frame.seq, frame.seq + count - 1)) this.wrong ??= `item ${frame.seq} says ${text}`
      if (typeof frame.body === 'string' && count > 1) this.merged++
      this.items += count
      this.next = frame.seq + count
      this.#owed += count
    }
    if (this.#owed < GRANT) return 0
    const owed = this.#owed
    this.#owed = 0
    return owed
  }

  /** Comes back: what it owed is forgotten with the connection. */
  leave(): void {
    this.#owed = 0
  }

  #follows(seq: number): void {
    if (seq !== this.next) this.wrong ??= `item ${seq} came where ${this.next} was due`
  }
}

/** A socket with any number of views of one run, which answers PINGs and grants what was read. */
export class ViewSocket {
  readonly socket: WebSocket
  readonly #closed: Promise<void>

  /** Connects as alice; resolves when all views are open. Views that were open before come back to where they stood. */
  static async open(url: string, run: string, views: readonly CountedView[]): Promise<ViewSocket> {
    const socket = new WebSocket(url, SUBPROTOCOL, { perMessageDeflate: false })
    const self = new ViewSocket(socket)
    await new Promise<void>((resolve, reject) => {
      let opening = views.length
      socket.on('error', reject)
      socket.on('open', () =>
        self.#send([
          { kind: 'hello', auth: 'alice', client: new Uint8Array(randomBytes(16)), attempt: 1 },
          ...views.map(
            ({ policy, next }, i): UpFrame => ({
              kind: 'attach',
              sid: i + 1,
              run,
              after: next - 1,
              options: { policy, ...(next > 1 ? { gen: 1 } : {}) },
            }),
          ),
        ]),
      )
      socket.on('message', (bytes: Buffer) => {
        const answers: UpFrame[] = []
        for (const frame of decodeDown(bytes, scanLimits.down)) {
          if (frame.kind === 'ping') answers.push({ kind: 'pong', nonce: frame.nonce })
          if (!('sid' in frame)) continue
          if (frame.kind === 'opened' && --opening === 0) resolve()
          const n = views[frame.sid - 1]!.take(frame)
          if (n > 0) answers.push({ kind: 'credit', sid: frame.sid, n })
        }
        if (answers.length > 0) self.#send(answers)
      })
    })
    return self
  }

  private constructor(socket: WebSocket) {
    this.socket = socket
    this.#closed = new Promise((resolve) => socket.on('close', () => resolve()))
  }

  #send(frames: UpFrame[]): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(encodeUp(frames))
  }

  /** Cuts the socket without a word. */
  async cut(): Promise<void> {
    this.socket.terminate()
    await this.#closed
  }
}
