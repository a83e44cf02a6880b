import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  type Client,
  clientTools,
  createClient,
  MillraceError,
  type OnRequest,
  type Run,
} from '../../../client-sdk/node.ts'
import { EVENT, type RunEnd, type RunEvent, type StreamEvent } from '../../../protocol/events.ts'
import type { DownFrame } from '../../../protocol/frames.ts'
import { actor, agent, openRecording, type Recording, type ReplayOptions, replay, tool } from '../../../server/index.ts'
import { FIRST_LINE, factsBlock, framesBlock } from '../../../server/recordings/recording-format.ts'
import { RecordingWriter } from '../../../server/recordings/recording-writer.ts'
import { randomRun } from '../../helpers/random-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { firstSeed, repetitions } from '../../helpers/tier.ts'

const shout = tool({
  description: 'Shouts',
  needsApproval: true,
  async *run() {
    yield 'breathing in'
    return { loud: true }
  },
})

const long = actor({
  async *stream() {
    for (let n = 1; n <= 1_500; n++) yield `${n} `
    return { sum: 1_500 }
  },
})

const actors = {
  /** An agent that thinks, calls a tool that needs approval, and answers. */
  talk: () =>
    agent({
      model: scriptedModel(
        [{ type: 'thinking', text: 'hm' }, ...calls({ call: 'c1', name: 'shout', args: { text: 'hé 🎈' } })],
        says('done 🎈'),
      ),
      tools: { shout },
    }),
  fails: () =>
    actor({
      async *stream() {
        yield 'a '
        await Promise.reject(new TypeError('a secret'))
      },
    }),
  long: () => long,
  team: () =>
    actor({
      async *stream(_: unknown, { spawn }) {
        yield* spawn(long, null, { name: 'counter' })
        return 'all'
      },
    }),
  slow: () =>
    actor({
      async *stream(_: unknown, { signal }) {
        yield 'first '
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
        )
      },
    }),
}

type Heard = { events: StreamEvent[]; end: RunEnd }

/** All that a client hears of a run, without the times. */
async function heard(run: Run): Promise<Heard> {
  const events: StreamEvent[] = []
  try {
    for await (const event of run) events.push({ ...event, at: 0 })
  } catch {
    // The end says it as well.
  }
  return { events, end: await run.end }
}

let folder = ''
let files = 0
beforeAll(async () => {
  const made = await temporaryFolder()
  folder = made.path
  return () => made[Symbol.asyncDispose]()
})

const newFile = (): string => join(folder, `${++files}.millrace`)

/** A recording made of frames as a server would send them. */
async function recordingOf(frames: readonly DownFrame[], given = {}): Promise<Recording> {
  const file = newFile()
  const writer = await RecordingWriter.create(file, { actor: 'chat', recordedAt: 1, ...given })
  for (const frame of frames) writer.take(frame)
  await writer.close()
  return openRecording(file)
}

const opened: DownFrame = { kind: 'opened', sid: 7, run: 'r_1', next: 1, gen: 1, credit: 256 }
const text = (seq: number, body: string | string[], ts = 1_000): DownFrame => ({
  kind: 'delta',
  sid: 7,
  seq,
  lane: 0,
  body,
  ts,
})
const event = (seq: number, type: number, data: Record<string, unknown>, ts = 1_000): DownFrame => ({
  kind: 'event',
  sid: 7,
  seq,
  type,
  data,
  cost: 1,
  ts,
})
const rewound: DownFrame = { kind: 'gap', sid: 1, from: 2, next: 2, reason: 'rewound' }
const numbers = (to: number): string[] => Array.from({ length: to }, (_, n) => `${n} `)
const READ_AHEAD = 32
const SEEDS = repetitions({ quick: 20, full: 300, long: 5_000 })

/** An event as an actor yields it. */
function plain({ seq: _, at: __, ...event }: StreamEvent): RunEvent {
  return event as RunEvent
}

const done = (seq: number): DownFrame => ({ kind: 'end', sid: 7, seq, outcome: 'done', data: { ms: 5 } })

/** A server that replays, and a client of it. */
async function replaying(recording: Recording, options: ReplayOptions = { speed: Number.POSITIVE_INFINITY }) {
  const served = await testServer({ again: replay(recording, options) })
  const client: Client = createClient(served.url, { token: 'alice' })
  return {
    served,
    client,
    async [Symbol.asyncDispose]() {
      await client.close()
      await served[Symbol.asyncDispose]()
    },
  }
}

const approves: OnRequest = () => true

describe('a replayed run', () => {
  test.each<[keyof typeof actors, string]>([
    ['talk', 'done'],
    ['fails', 'error'],
    ['long', 'done'],
    ['team', 'done'],
    ['slow', 'cancelled'],
  ])('of the actor %s says the same events under the same numbers, and ends the same: %s', async (name, outcome) => {
    // The frames of a second reader, as its connection gets them, become the recording.
    await using served = await testServer({ [name]: actors[name]() })
    const client = createClient(served.url, { token: 'alice' })
    const run = client.start(name, 'hello', { onRequest: approves })
    const reading = heard(run)
    if (name === 'slow') {
      await eventually(() => run.position?.seq === 1, 'the first item')
      await run.cancel()
    }
    const live = await reading
    expect(live.end.outcome).toBe(outcome)

    const wire = await served.client()
    wire.send({ kind: 'attach', sid: 7, run: run.id!, after: 0, options: { ts: true, credit: 1_900 } })
    await wire.next('end')
    const recording = await recordingOf(wire.frames)
    await client.close()
    expect(recording).toMatchObject({ run: run.id, outcome, items: live.end.seq - 1 })

    await using again = await replaying(recording)
    const second = again.client.start('again', { any: 'input' })
    expect(await heard(second)).toEqual(live)
    expect(await heard(again.client.attach('again', second.id!))).toEqual(live)
  })

  test('of any events whatever has the same items on the same lanes, and the same end', async () => {
    const say = actor({
      async *stream(seed: unknown) {
        for (const event of randomRun(Number(seed)).events) if (event.type !== 'gap') yield plain(event)
      },
    })
    const limits = { startsPerSec: 1_000_000, startBurst: 1_000_000 }
    await using live = await testServer({ say }, { limits })
    let items = 0
    await using client = await live.client()
    const first = firstSeed()
    for (let n = 0; n < SEEDS; n++) {
      const seed = first + n
      client.start(2 * n + 1, 'say', seed, { credit: 500 })
      const { run } = await client.next('opened', 2 * n + 1)
      const end = await client.next('end', 2 * n + 1)
      client.attach(2 * n + 2, run, 0, { ts: true, credit: 500 })
      await client.next('end', 2 * n + 2)
      const recording = await recordingOf(client.frames.filter((frame) => 'sid' in frame && frame.sid === 2 * n + 2))
      await using again = await replaying(recording)
      await using reader = await again.served.client()
      reader.start(1, 'again', null, { credit: 500 })
      const { seq, outcome, data } = await reader.next('end')
      items += recording.items
      const said = (all: readonly object[]): object[] => all.map((item) => ({ ...item, ts: 0, sid: 0 }))
      expect({ seed, items: said(reader.items(1)) }).toEqual({ seed, items: said(client.items(2 * n + 1)) })
      expect({ seed, seq, outcome, data }).toEqual({ seed, seq: end.seq, outcome: end.outcome, data: end.data })
    }
    expect(items).toBeGreaterThan(5 * SEEDS)
  })

  test('is cancelled with a receipt, and keeps what it has said', async () => {
    const recording = await recordingOf([opened, text(1, 'one '), text(2, 'two ', 3_600_000), done(3)])
    await using again = await replaying(recording, {})
    const run = again.client.start('again', null)
    const events = run[Symbol.asyncIterator]()
    expect(await events.next()).toMatchObject({ value: { type: 'token', text: 'one ', seq: 1 } })
    expect(await run.cancel()).toMatchObject({
      outcome: 'cancelled',
      confirmed: true,
      settled: true,
      kept: 1,
      by: 'client',
    })
  })

  test('waits for its reader: it says the credit and the read-ahead, and no more', async () => {
    const recording = await recordingOf([opened, text(1, numbers(1_500)), done(1_501)])
    await using again = await replaying(recording)
    await using wire = await again.served.client()
    wire.start(1, 'again', null, { credit: 10 })
    const { run } = await wire.next('opened')
    wire.attach(2, run, 0, { credit: 1_900 })
    await wire.until(() => wire.count(2) >= 10 + READ_AHEAD)
    await wire.settle()
    expect([wire.count(1), wire.count(2)]).toEqual([10, 10 + READ_AHEAD])
    wire.send({ kind: 'credit', sid: 1, n: 1_880 })
    await wire.next('end', 1)
    expect(wire.text(1)).toBe(numbers(1_500).join(''))
  })

  test('goes on for a client that lost its connection, without a gap', async () => {
    const recording = await recordingOf([opened, text(1, numbers(1_000)), done(1_001)])
    await using again = await replaying(recording)
    await using first = await again.served.client()
    first.start(1, 'again', null, { credit: 300 })
    const { run } = await first.next('opened')
    await first.until(() => first.count(1) === 300)
    first.cut()
    await using second = await again.served.client({ client: first.client, attempt: 2 })
    second.attach(1, run, 300, { credit: 1_000, policy: 'pace' })
    await second.next('end', 1)
    expect(second.text(1)).toBe(numbers(1_000).slice(300).join(''))
    expect(second.frames.some(({ kind }) => kind === 'gap')).toBe(false)
  })

  test('takes as long as it took, by its speed, and passes over what comes before `from`', async () => {
    const frames = [opened, text(1, 'a', 1_000), text(2, 'b', 1_000_000), text(3, 'c', 1_000_200), done(4)]
    const recording = await recordingOf(frames)
    const took = async (options: ReplayOptions): Promise<number> => {
      await using again = await replaying(recording, options)
      const before = performance.now()
      expect(await again.client.start('again', null).result).toBe('abc')
      return performance.now() - before
    }
    // From the third item on, there are 200 ms to wait.
    expect(await took({ from: 3 })).toBeGreaterThanOrEqual(190)
    expect(await took({ from: 3, speed: 20 })).toBeGreaterThanOrEqual(9)
    await took({ speed: Number.POSITIVE_INFINITY })
  })

  test('has open requests as the recorded run had: one that attaches sees them, and an answer is taken', async () => {
    const request = { request: 'q1', kind: 'approve', call: 'c1' }
    const recording = await recordingOf([
      opened,
      event(1, EVENT.toolCall, { call: 'c1', name: 'pay', args: {} }),
      event(2, EVENT.inputRequest, request),
      event(3, EVENT.toolResult, { call: 'c1', outcome: 0, ms: 1, output: 'paid' }, 3_600_000),
      done(4),
    ])
    await using again = await replaying(recording, {})
    await using wire = await again.served.client()
    wire.start(1, 'again')
    const { run } = await wire.next('opened')
    await wire.until(() => wire.count(1) === 2)
    wire.attach(2, run, null)
    expect(await wire.next('opened', 2)).toMatchObject({ pending: [request] })
    const approve = (mid: string): void =>
      wire.send({ kind: 'input', sid: 1, mid, type: 'approve', data: { call: 'c1', ok: true } })
    approve('one')
    expect(await wire.next('input_ack')).toMatchObject({ status: 'accepted' })
    approve('two')
    expect(await wire.next('input_ack')).toMatchObject({ status: 'unwanted' })
    wire.send({ kind: 'input', sid: 1, mid: 'three', type: 'message', data: 'hello' })
    expect(await wire.next('input_ack')).toMatchObject({ status: 'accepted' })
  })

  test('of a recording that lacks items says the others, on the lanes that they were on', async () => {
    const lane: [number, object] = [4, { lane: 4, type: 'thinking' }]
    const recording = await recordingOf([
      { ...opened, next: 5 },
      text(5, 'a'),
      {
        kind: 'gap',
        sid: 7,
        from: 6,
        next: 90,
        reason: 'retention',
        lanes: [lane as [number, Record<string, unknown>]],
      },
      { kind: 'delta', sid: 7, seq: 90, lane: 4, body: 'hm' },
      done(91),
    ])
    await using again = await replaying(recording)
    const { events } = await heard(again.client.start('again', null))
    expect(events).toMatchObject([
      { type: 'token', text: 'a' },
      { type: 'thinking', text: 'hm' },
    ])
  })

  test('ends as an error at an item that is larger than its server allows', async () => {
    const large = event(2, EVENT.warning, { code: 'x', message: 'y'.repeat(70_000) })
    const recording = await recordingOf([opened, text(1, 'a'), large, done(3)])
    await using again = await replaying(recording)
    const { events, end } = await heard(again.client.start('again', null))
    expect(events).toMatchObject([{ text: 'a' }])
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'bad_event' } })
  })

  test('of a recording that ended before the run fails there as interrupted', async () => {
    const recording = await recordingOf([opened, text(1, ['a', 'b'])])
    expect(recording).toMatchObject({ items: 2, outcome: undefined })
    await using again = await replaying(recording)
    const { events, end } = await heard(again.client.start('again', null))
    expect(events).toHaveLength(2)
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'interrupted' } })
  })

  test('ends as an error when its file is changed or removed meanwhile', async () => {
    const recording = await recordingOf([opened, text(1, 'a'), done(2)])
    await using again = await replaying(recording)
    await truncate(recording.path, 40)
    await expect(again.client.start('again', null).result).rejects.toMatchObject({ code: 'bad_request' })
    await rm(recording.path)
    await expect(again.client.start('again', null).result).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('a recording', () => {
  test('has each item once, however often a frame of it came', async () => {
    const recording = await recordingOf([
      opened,
      text(1, ['a', 'b', 'c']),
      { ...opened, sid: 9, next: 3 },
      text(3, ['c', 'd']),
      text(4, 'd'),
      event(5, EVENT.warning, { code: 'x', message: 'y' }),
      event(5, EVENT.warning, { code: 'x', message: 'y' }),
      text(6, 'e'),
      done(7),
      done(7),
    ])
    await using again = await replaying(recording)
    const { events } = await heard(again.client.start('again', null))
    expect(events.map((one) => ('text' in one ? one.text : one.type)).join(' ')).toBe('a b c d warning e')
  })

  test('that is to have no inputs has neither input and meta, nor what clients answered', async () => {
    const frames = [
      opened,
      event(1, EVENT.toolCall, { call: 'c1', name: 'place', args: {}, client: true }),
      event(2, EVENT.toolResult, { call: 'c1', outcome: 0, ms: 1, output: 'secret one' }),
      event(3, EVENT.toolCall, { call: 'c2', name: 'pay', args: {} }),
      event(4, EVENT.toolResult, { call: 'c2', outcome: 0, ms: 1, output: 'paid', args: { to: 'secret two' } }),
      // Its call is not in the recording: it may have been that of a client.
      event(5, EVENT.toolResult, { call: 'c0', outcome: 0, ms: 1, output: 'secret five' }),
      event(6, EVENT.toolResult, { call: 'c9', outcome: 1, ms: 1, error: 'secret six' }),
      done(7),
    ]
    const facts = { input: 'secret three', meta: { who: 'secret four' } }
    const whole = await recordingOf(frames, facts)
    expect(whole.facts).toMatchObject(facts)
    const bytes = async ({ path }: Recording): Promise<string> => (await readFile(path)).toString('latin1')
    expect((await bytes(whole)).match(/secret/g)).toHaveLength(6)
    const redacted = await recordingOf(frames, { ...facts, redacted: true })
    expect(await bytes(redacted)).not.toContain('secret')
    expect(await bytes(redacted)).toContain('paid')
    expect(redacted.facts).toEqual({ actor: 'chat', recordedAt: 1, redacted: true })
    const { mode } = await stat(redacted.path)
    expect(mode & 0o777).toBe(0o600)
  })

  test('that is to have no inputs has nothing of what the tool of a page gave, nor of why it failed', async () => {
    for (const isBroken of [false, true]) {
      const model = scriptedModel(calls({ call: 'c1', name: 'locate', args: {} }), says('thanks'))
      await using served = await testServer({ page: agent({ model, clientTools: true }) })
      const client = createClient(served.url, { token: 'alice' })
      const run = client.start('page', 'where am I?')
      const locate = {
        description: 'Where the user is',
        input: z.object({}),
        run: () => (isBroken ? Promise.reject(new MillraceError('forbidden', 'a secret')) : 'a secret'),
      }
      for await (const _ of clientTools(run, { locate }));
      const wire = await served.client()
      wire.send({ kind: 'attach', sid: 7, run: run.id!, after: 0, options: { ts: true, credit: 1_900 } })
      await wire.next('end')
      await client.close()
      const recorded = async (facts: object): Promise<string> =>
        (await readFile((await recordingOf(wire.frames, facts)).path)).toString('latin1')
      expect(await recorded({})).toContain('a secret')
      const redacted = await recorded({ redacted: true })
      expect(redacted).not.toContain('a secret')
      expect(redacted).toContain('thanks')
    }
  })

  test('that grows too large ends cleanly behind the last item that it has room for, and can be replayed', async () => {
    for (const last of [event(5, EVENT.warning, { code: 'x', message: 'y'.repeat(100) }), done(5)]) {
      const [whole, file] = [newFile(), newFile()]
      const frames = [opened, text(1, ['a', 'b']), text(3, 'c'), text(4, 'd')]
      const write = async (path: string, maxBytes?: number): Promise<RecordingWriter> => {
        const writer = await RecordingWriter.create(path, { actor: 'chat', recordedAt: 1 }, maxBytes)
        for (const frame of [...frames, last, text(6, 'e')]) writer.take(frame)
        await writer.close()
        return writer
      }
      expect((await write(whole)).isFull).toBe(false)
      const { size } = await stat(whole)
      for (let maxBytes = size - 1; maxBytes > size - 40; maxBytes -= 3) {
        const full = await write(file, maxBytes)
        expect(full).toMatchObject({ isFull: true, outcome: undefined })
        expect((await stat(file)).size).toBeLessThanOrEqual(maxBytes)
        expect(await openRecording(file)).toMatchObject({ items: full.items, outcome: undefined })
        await rm(file)
      }
    }
  })

  test('is not written over a file that exists', async () => {
    const { path } = await recordingOf([opened, done(1)])
    await expect(RecordingWriter.create(path, { actor: 'a', recordedAt: 1 })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('exists already') as string,
    })
  })

  const head = factsBlock({ actor: 'a', recordedAt: 1 })
  const line = (text: string): Uint8Array => new TextEncoder().encode(text)
  const block = (length: number, ...bytes: number[]): Uint8Array => {
    const all = Buffer.alloc(4 + bytes.length)
    all.writeUInt32BE(length)
    all.set(bytes, 4)
    return all
  }
  const frames = (...all: DownFrame[]): Uint8Array => framesBlock(all)
  const first: DownFrame = { ...opened, sid: 1 }

  test.each<[string, Uint8Array[], RegExp]>([
    ['an empty file', [], /is not a recording of millrace$/],
    ['another file', [line('{"hello": "world"}')], /is not a recording of millrace$/],
    [
      'another version',
      [line('millrace recording 2\nwhatever')],
      /is a recording of version 2, and this release reads/,
    ],
    ['only the first line', [FIRST_LINE], /is cut off/],
    ['only the facts', [FIRST_LINE, head], /is cut off/],
    ['no end', [FIRST_LINE, head, frames(first, text(1, 'a'))], /is cut off/],
    ['half a block', [FIRST_LINE, head, frames(first, done(1)).subarray(0, -2)], /is cut off/],
    ['a block of nothing', [FIRST_LINE, block(0)], /is damaged: a part of it says that it has 0 bytes/],
    ['a block of 4 GiB', [FIRST_LINE, block(2 ** 32 - 1, 1, 2)], /says that it has 4294967295 bytes/],
    ['facts that are none', [FIRST_LINE, block(1, 0x80)], /the facts of its run are not as they should be/],
    ['facts of a huge size', [FIRST_LINE, block(5, 0xdf, 255, 255, 255, 255)], /a part of it cannot be read/],
    ['no frame', [FIRST_LINE, head, block(1, 0xc0)], /a part of it cannot be read/],
    ['a frame of 4 GiB', [FIRST_LINE, head, block(5, 0xdd, 255, 255, 255, 255)], /a part of it cannot be read/],
    ['no opening', [FIRST_LINE, head, frames(text(1, 'a'), done(2))], /its run is not opened once, at first/],
    ['two openings', [FIRST_LINE, head, frames(first, first, done(1))], /its run is not opened once, at first/],
    ['a missing item', [FIRST_LINE, head, frames(first, text(2, 'a'), done(3))], /item 1 is missing$/],
    ['a doubled item', [FIRST_LINE, head, frames(first, text(1, 'a'), text(1, 'a'), done(3))], /item 2 is missing$/],
    ['an early end', [FIRST_LINE, head, frames(first, text(1, 'a'), done(9))], /item 2 is missing before the end/],
    ['more behind the end', [FIRST_LINE, head, frames(first, done(1)), frames(text(1, 'a'))], /something follows/],
    [
      'an unknown lane',
      [FIRST_LINE, head, frames(first, { ...text(1, 'a'), lane: 3 } as DownFrame)],
      /lane that is not open/,
    ],
    [
      'a lane without a number',
      [FIRST_LINE, head, frames(first, event(1, EVENT.laneStart, {}))],
      /opened twice, or has no/,
    ],
    ['merged texts', [FIRST_LINE, head, frames(first, { ...text(1, 'a'), count: 2 } as DownFrame)], /are merged in it/],
    [
      'a frame of another kind',
      [FIRST_LINE, head, frames(first, { kind: 'ping', nonce: 1 })],
      /a frame of the type ping/,
    ],
    ['a run set back', [FIRST_LINE, head, frames(first, text(1, ['a', 'b']), rewound)], /its run was set back/],
  ])('with %s is refused, in words', async (_, parts, words) => {
    const file = newFile()
    await writeFile(file, Buffer.concat(parts))
    const refused = await openRecording(file).catch((error: unknown) => error)
    expect(refused).toMatchObject({ name: 'MillraceError', code: 'bad_request' })
    expect((refused as Error).message).toMatch(words)
  })

  test('that is not there, is a folder, or is too large is refused, in words', async () => {
    await expect(openRecording(newFile())).rejects.toMatchObject({ code: 'not_found' })
    await expect(openRecording(folder)).rejects.toMatchObject({ code: 'bad_request' })
    const huge = newFile()
    await writeFile(huge, FIRST_LINE)
    await truncate(huge, 2 ** 31)
    await expect(openRecording(huge)).rejects.toThrow(/is larger than 1024 MiB/)
  })

  test.each<[unknown, ReplayOptions, RegExp]>([
    [{}, {}, /takes what openRecording\(\) returns/],
    [undefined, { speed: 0 }, /speed must be a number above 0/],
    [undefined, { speed: Number.NaN }, /speed must be a number above 0/],
    [undefined, { from: 0.5 }, /from must be the number of an item/],
    [undefined, { sped: 2 } as ReplayOptions, /unknown option sped/],
  ])('with the wrong options (%j, %j) is refused', async (given, options, words) => {
    const recording = given ?? (await recordingOf([opened, done(1)]))
    expect(() => replay(recording as never, options)).toThrow(words)
  })

  test('of which a server was made wrongly, with any bytes changed, is never more than an error', async () => {
    const { path } = await recordingOf([
      opened,
      text(1, ['a', 'bc', 'd']),
      event(4, EVENT.toolCall, { call: 'c', name: 'n', args: { a: [1, 2, { b: null }] } }),
      done(5),
    ])
    const bytes = await readFile(path)
    const seed = 12
    const chance = seededRandom(seed)
    for (let n = 0; n < 300; n++) {
      const changed = Buffer.from(bytes)
      for (let times = 0; times < 1 + (n & 3); times++)
        changed[Math.floor(chance() * changed.length)] = Math.floor(chance() * 256)
      const file = join(folder, 'changed.millrace')
      await writeFile(file, changed)
      const result = await openRecording(file).catch((error: unknown) => error)
      const isFine = result instanceof Error ? (result as { code?: string }).code === 'bad_request' : true
      expect(isFine, `seed ${seed}, change ${n}: ${String(result)}`).toBe(true)
    }
  })
})
