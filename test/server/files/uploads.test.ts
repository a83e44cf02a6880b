import { describe, expect, test } from 'vitest'
import { createClient, type Run, type StartOptions, type StreamEvent, upload } from '../../../client-sdk/node.ts'
import type { UploadProgress, UploadReference } from '../../../protocol/upload.ts'
import { agent, type ClientPart, type Message, type Part, type UploadsOptions, uploads } from '../../../server/index.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { type ScriptedAnswer, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { TcpProxy } from '../../helpers/tcp-proxy.ts'
import { latch } from '../../helpers/test-actors.ts'
import { repetitions } from '../../helpers/tier.ts'
import { onUws, onWs, type TransportUnderTest } from '../../helpers/transports.ts'

const HOUR = 3_600_000
const MEGABYTES = repetitions({ quick: 4, full: 20 })
const DELAYS = { quickMs: 2, backoffMs: 2, maxBackoffMs: 8 }

/** An image of so many bytes, none of which repeats its neighbours. */
function picture(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32BE(Math.imul(at, 0x9e3779b1) >>> 0, at)
  bytes.write('\x89PNG\r\n\x1a\n', 'latin1')
  return bytes
}

const PNG = picture(20)

type Served = Awaited<ReturnType<typeof served>>

/** A server that takes uploads, and an agent whose messages may name them. */
async function served(
  options: UploadsOptions = {},
  server: Parameters<typeof testServer>[1] = {},
  by?: TransportUnderTest,
  answer: ScriptedAnswer = says('seen'),
) {
  const files = uploads(options)
  const model = scriptedModel(answer)
  const actors = { uploads: files, chat: agent({ model, files: { uploads: files, maxBytes: 2 ** 25 } }) }
  const { url, errors, server: made, ...rest } = await testServer(actors, server as never, by)
  const clients: { close(): Promise<void> }[] = []
  return {
    files,
    model,
    url,
    server: made,
    /** A client of a person. */
    client(token = 'alice', to = url) {
      const client = createClient<typeof actors>(to, { token, delays: DELAYS })
      clients.push(client)
      return client
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()))
      await rest[Symbol.asyncDispose]()
      expect(errors).toEqual([])
    },
  }
}

type TestClient = ReturnType<Served['client']>

/** What the model gets of a message with this part. */
async function seen({ model }: Served, client: TestClient, part: ClientPart) {
  await client.start('chat', { prompt: [part] }).result
  const message = model.asked.at(-1)?.[0] as Extract<Message, { role: 'user' }>
  return (message.content as Part[])[0] as { data: Uint8Array }
}

/** A run of the actor that the test feeds itself. */
class Feed {
  readonly run: Run
  readonly #events: AsyncIterator<StreamEvent>

  constructor(client: TestClient, size: number, type = 'image/png', options?: StartOptions) {
    this.run = client.start('uploads', { type, size }, options)
    this.#events = this.run[Symbol.asyncIterator]()
  }

  /** How far the server says it is, next. Rejects with the error of the run. */
  async progress(): Promise<UploadProgress> {
    const { value, done } = await this.#events.next()
    if (done) throw new Error('the run is done')
    return (value as { value: UploadProgress }).value
  }

  send(at: number, bytes: unknown): Promise<unknown> {
    return this.run.send('piece', { at, bytes })
  }
}

describe.each([onWs, onUws])('uploads on $name', (by) => {
  test(`of ${MEGABYTES} MB arrive whole in pieces, and a message of their principal may name them`, async () => {
    await using all = await served({}, {}, by)
    const client = all.client()
    const bytes = picture(MEGABYTES * 1_000_000)
    const told: number[] = []
    const made = await upload(client, bytes, {
      type: 'image/png',
      onProgress: (received, size) => {
        expect(size).toBe(bytes.length)
        told.push(received)
      },
    })
    expect(made).toMatchObject({
      mediaType: 'image/png',
      size: bytes.length,
      upload: expect.stringMatching(/^u_.{22}$/),
    })
    expect(told[0]).toBe(0)
    expect(told.at(-1)).toBe(bytes.length)
    expect(told).toEqual([...new Set(told)].sort((a, b) => a - b))
    const { data } = await seen(all, client, { type: 'image', upload: made.upload })
    expect(bytes.equals(data)).toBe(true)
  })
})

describe('an upload', () => {
  test('goes on after each loss of the connection, and every byte arrives once', async () => {
    await using all = await served()
    await using proxy = await TcpProxy.to(Number(new URL(all.url).port))
    proxy.plan = (n) => (n < 6 ? { bytesUp: 60_000 + n * 9_000, learns: n % 2 ? 'client' : 'both' } : {})
    const client = all.client('alice', proxy.url)
    const bytes = picture(1_000_000)
    const made = await upload(client, bytes, { type: 'image/png' })
    expect(proxy.connections.length).toBe(7)
    const { data } = await seen(all, client, { type: 'image', upload: made.upload })
    expect(bytes.equals(data)).toBe(true)
  })

  test('takes the type and the name of a File, and is a file for the model', async () => {
    await using all = await served()
    const client = all.client()
    const file = new File(['one, two'], 'notes.csv', { type: 'text/csv' })
    const { upload: id, mediaType } = await upload(client, file)
    expect(mediaType).toBe('text/csv')
    expect(await seen(all, client, { type: 'file', upload: id })).toEqual({
      type: 'file',
      mediaType: 'text/csv',
      name: 'notes.csv',
      data: new Uint8Array(Buffer.from('one, two')),
    })
  })

  test('is read piece by piece, never further ahead than the server has granted', async () => {
    await using all = await served()
    const slices: [number, number][] = []
    let stored = 0
    const source = new Blob([picture(500_000)], { type: 'image/png' })
    const slice = source.slice.bind(source)
    source.slice = (from = 0, to = 0) => {
      slices.push([from, to])
      expect(to - stored).toBeLessThanOrEqual(65_536)
      return slice(from, to)
    }
    await upload(all.client(), source, { onProgress: (received) => void (stored = received) })
    expect(slices.length).toBeGreaterThan(30)
  })

  test('that a cancel stops gives its room back', async () => {
    await using all = await served({ maxBytesPerPrincipal: 100_000 })
    const client = all.client()
    const abort = new AbortController()
    const stopped = upload(client, picture(100_000), {
      type: 'image/png',
      signal: abort.signal,
      onProgress: (received) => received > 0 && abort.abort(),
    })
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' })
    await upload(client, picture(100_000), { type: 'image/png' })
  })

  test('whose source cannot be read is cancelled, and rejects with the error of the source', async () => {
    await using all = await served()
    const source = new Blob([PNG], { type: 'image/png' })
    source.slice = () => {
      throw new Error('the file is gone')
    }
    await expect(upload(all.client(), source)).rejects.toThrow('the file is gone')
    await eventually(() => all.server.liveRuns === 0, 'the run ends')
  })

  test('whose pieces may not be sent rejects with that reason', async () => {
    await using all = await served({}, { authorize: (_, action) => action !== 'input' })
    await expect(upload(all.client(), PNG, { type: 'image/png' })).rejects.toMatchObject({ code: 'forbidden' })
  })

  test.each<[string, Uint8Array | Blob, string | undefined, string]>([
    ['a type that is not accepted', PNG, 'application/zip', 'the type application/zip is not accepted'],
    ['no type', new Blob([PNG]), undefined, 'expected a media type'],
    ['bytes of another type', picture(40_000).subarray(8), 'image/png', 'the bytes are not of the type image/png'],
    ['text that is not UTF-8', PNG, 'text/plain', 'not text in UTF-8'],
    ['more bytes than one may have', picture(50_001), 'image/png', 'an upload has at most 50000 bytes'],
    ['no bytes', new Uint8Array(), 'image/png', 'expected number to be >=1'],
  ])('with %s is refused', async (_, bytes, type, says) => {
    await using all = await served({ maxBytes: 50_000, maxBytesPerPrincipal: 50_000 })
    const client = all.client()
    await expect(upload(client, bytes, { type })).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(says),
    })
    // The room of the refused one is free again.
    await upload(client, picture(50_000), { type: 'image/png' })
  })

  test('beyond what its principal may have is refused until another is removed or expires', async () => {
    const runtime = handClock()
    await using all = await served({ maxBytesPerPrincipal: 10_000 }, { runtime, limits: { heartbeatMs: 10 * HOUR } })
    const [alice, bob] = [all.client(), all.client('bob')]
    const put = (client: TestClient, size: number) => upload(client, picture(size), { type: 'image/png' })
    const full = { code: 'overloaded', message: expect.stringContaining('your uploads may take 10000 bytes') }
    const first = await put(alice, 5_000)
    // Small ones count 4 KiB.
    await put(alice, 20)
    await expect(put(alice, 20)).rejects.toMatchObject(full)
    await put(bob, 10_000)
    expect(await alice.ask('uploads', { remove: first.upload })).toBeNull()
    await expect(alice.ask('uploads', { remove: first.upload })).rejects.toMatchObject({ code: 'not_found' })
    await put(alice, 5_000)
    await expect(put(alice, 20)).rejects.toMatchObject(full)
    runtime.advance(HOUR)
    await put(alice, 10_000)
  })

  test('counts for as long as a run has its bytes, also when it is removed meanwhile', async () => {
    const running = latch()
    const goOn = latch()
    await using all = await served({ maxBytesPerPrincipal: 9_000 }, {}, undefined, async function* () {
      running.open()
      await goOn.opened
      yield* says('seen')
    })
    const client = all.client()
    const { upload: id } = await upload(client, picture(5_000), { type: 'image/png' })
    const run = client.start('chat', { prompt: [{ type: 'image', upload: id }] })
    await running.opened
    await client.ask('uploads', { remove: id })
    await expect(upload(client, picture(5_000), { type: 'image/png' })).rejects.toMatchObject({ code: 'overloaded' })
    goOn.open()
    await run.result
    await eventually(() => all.server.liveRuns === 0, 'the run settles')
    await upload(client, picture(5_000), { type: 'image/png' })
  })

  test('that is announced takes its room at once, so that many cannot take more together', async () => {
    await using all = await served({ maxBytesPerPrincipal: 10_000, maxBytesTotal: 15_000 })
    const alice = all.client()
    const begun = new Feed(alice, 9_000)
    await begun.progress()
    await expect(new Feed(alice, 2_000).progress()).rejects.toMatchObject({ code: 'overloaded' })
    await expect(new Feed(all.client('bob'), 8_000).progress()).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('the server has no room'),
    })
    await begun.run.cancel()
    await new Feed(alice, 2_000).progress()
  })

  test('is unknown once it has expired, by the clock of the server', async () => {
    const runtime = handClock()
    await using all = await served({ expiryMs: 5_000 }, { runtime, limits: { heartbeatMs: HOUR } })
    const client = all.client()
    const made = await upload(client, PNG, { type: 'image/png' })
    expect(made.expiresAt).toBe(runtime.wallClock() + 5_000)
    runtime.advance(4_999)
    await seen(all, client, { type: 'image', upload: made.upload })
    runtime.advance(1)
    await expect(seen(all, client, { type: 'image', upload: made.upload })).rejects.toMatchObject({
      code: 'not_found',
      message: 'unknown upload: it has expired, or another principal made it',
    })
  })

  test('of another principal is unknown, in a message, to an actor and to be removed', async () => {
    await using all = await served()
    const [alice, bob] = [all.client(), all.client('bob')]
    const { upload: id } = await upload(alice, PNG, { type: 'image/png' })
    const unknown = { code: 'not_found', message: 'unknown upload: it has expired, or another principal made it' }
    await expect(seen(all, bob, { type: 'image', upload: id })).rejects.toMatchObject(unknown)
    await expect(seen(all, bob, { type: 'image', upload: 'u_1' })).rejects.toMatchObject(unknown)
    await expect(bob.ask('uploads', { remove: id })).rejects.toMatchObject(unknown)
    expect(() => all.files.read({ id: 'bob' }, id)).toThrow(expect.objectContaining(unknown))
    expect(all.files.read({ id: 'alice' }, id)).toMatchObject({ data: new Uint8Array(PNG), principal: 'alice' })
    await seen(all, alice, { type: 'image', upload: id })
  })

  test('that waits too long for its next piece ends with a timeout, and gives its room back', async () => {
    const runtime = handClock()
    const limits = { heartbeatMs: HOUR, timeoutMs: 1_000 }
    await using all = await served({ idleMs: 60_000, maxBytesPerPrincipal: 5_000 }, { runtime, limits })
    const client = all.client()
    const feed = new Feed(client, 5_000)
    await feed.progress()
    runtime.advance(59_999)
    await feed.send(0, picture(1_000))
    await feed.progress()
    runtime.advance(59_999)
    const end = feed.progress()
    runtime.advance(1)
    await expect(end).rejects.toMatchObject({ code: 'timeout', retryable: true })
    await new Feed(client, 5_000).progress()
  })

  test('does not survive its server, and the client learns that', async () => {
    await using first = await served()
    const client = first.client()
    const feed = new Feed(client, 5_000)
    await feed.progress()
    const end = expect(feed.progress()).rejects.toMatchObject({ code: 'interrupted', retryable: true })
    await first.server.close({ drainMs: 0 })
    await end
  })
})

describe('the pieces of a hostile client', () => {
  const HOSTILE: [what: string, pieces: [at: number, bytes: unknown][]][] = [
    ['begin beyond the beginning', [[1, PNG.subarray(1)]]],
    [
      'come again',
      [
        [0, PNG.subarray(0, 5)],
        [0, PNG.subarray(0, 5)],
      ],
    ],
    [
      'leave a hole',
      [
        [0, PNG.subarray(0, 5)],
        [6, PNG.subarray(6)],
      ],
    ],
    ['go beyond the stated size', [[0, picture(21)]]],
    [
      'go beyond it with the last one',
      [
        [0, PNG.subarray(0, 19)],
        [19, PNG.subarray(0, 2)],
      ],
    ],
    ['are empty', [[0, new Uint8Array()]]],
    ['are text', [[0, 'abcdefghijklmnopqrst']]],
    ['begin at no number', [['0' as never, PNG]]],
    ['begin before the beginning', [[-1, PNG]]],
  ]
  test.each(HOSTILE)('that %s end the upload as invalid_input', async (_, pieces) => {
    await using all = await served()
    const feed = new Feed(all.client(), PNG.length)
    await feed.progress()
    for (const [at, bytes] of pieces) feed.send(at, bytes).catch(() => {})
    const ended = (async () => {
      for (;;) await feed.progress()
    })()
    await expect(ended).rejects.toMatchObject({ code: 'invalid_input' })
    expect(all.server.liveRuns).toBe(0)
  })

  test('that are larger than a piece may be end the upload', async () => {
    await using all = await served()
    const feed = new Feed(all.client(), 60_000)
    const { piece } = await feed.progress()
    void feed.send(0, picture(piece + 1))
    await expect(feed.progress()).rejects.toMatchObject({ code: 'invalid_input' })
  })

  test('that come after the end are refused and change nothing', async () => {
    await using all = await served()
    const client = all.client()
    const feed = new Feed(client, PNG.length)
    await feed.progress()
    await feed.send(0, PNG)
    expect(await feed.progress()).toMatchObject({ received: PNG.length })
    await expect(feed.progress()).rejects.toThrow('the run is done')
    const { upload: id } = (await feed.run.result) as UploadReference
    const other = client.attach('uploads', feed.run.id!)
    await expect(other.send('piece', { at: 20, bytes: PNG })).rejects.toThrow()
    expect((await seen(all, client, { type: 'image', upload: id })).data).toEqual(new Uint8Array(PNG))
  })

  test('that come all at once, though only some are granted, are refused and not kept', async () => {
    await using all = await served()
    const client = all.client()
    const feed = new Feed(client, 2_000_000)
    const { piece } = await feed.progress()
    const bytes = picture(piece)
    const sent = Array.from({ length: 100 }, (_, n) => feed.send(n * piece, bytes))
    const settled = await Promise.allSettled(sent)
    expect(settled.some(({ status }) => status === 'rejected')).toBe(true)
    await feed.run.cancel()
    await upload(client, PNG, { type: 'image/png' })
  })
})

describe('uploads()', () => {
  test.each<[UploadsOptions, string]>([
    [{ types: ['png'] }, 'types: "png"'],
    [{ maxBytes: 0 }, 'maxBytes must be an integer of at least 1'],
    [{ expiryMs: 2 ** 31 }, 'expiryMs must be at most 2147483647'],
    [{ maxbytes: 1 } as never, 'did you mean maxBytes?'],
  ])('refuses the options %j', (options, says) => {
    expect(() => uploads(options)).toThrow(
      expect.objectContaining({ code: 'bad_request', message: expect.stringContaining(says) }),
    )
  })

  test('leaves no timer of an upload behind that was removed', async () => {
    const runtime = handClock()
    await using all = await served({}, { runtime, limits: { heartbeatMs: HOUR } })
    const client = all.client()
    await client.ask('chat', 'hello')
    const before = runtime.timers
    const { upload: id } = await upload(client, PNG, { type: 'image/png' })
    await client.ask('uploads', { remove: id })
    await client.ask('chat', 'hello')
    expect(runtime.timers).toBeLessThanOrEqual(before + 3)
  })
})
