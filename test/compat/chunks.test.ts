import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient, type MillraceError } from '../../client-sdk/node.ts'
import { type Chunk, chunkProcessor, toChunks } from '../../compat/index.ts'
import { actor } from '../../server/index.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { testServer } from '../helpers/server.ts'

async function all(chunks: AsyncIterable<Chunk>): Promise<object[]> {
  const seen: object[] = []
  for await (const { timestamp, ...chunk } of chunks) {
    expect(timestamp).toBeGreaterThan(1_700_000_000_000)
    seen.push(chunk)
  }
  return seen
}

const work = actor({
  input: z.boolean(),
  async *stream(fails) {
    yield { type: 'progress' as const, current: 1, total: 2, message: 'reading' }
    yield 'some text'
    yield { type: 'data' as const, name: 'row', value: { n: 1 } }
    yield { type: 'warning' as const, code: 'odd', message: 'an odd row' }
    await Promise.resolve()
    if (fails) throw new Error('a secret')
    return { rows: 1 }
  },
})

describe('toChunks', () => {
  const begin = [
    { type: 'start' },
    { type: 'progress', current: 1, total: 2, message: 'reading' },
    { type: 'data', data: 'some text' },
    { type: 'data', data: { n: 1 }, name: 'row' },
    { type: 'data', data: expect.objectContaining({ code: 'odd' }) as unknown, name: 'warning' },
  ]

  test('gives start, progress, data and complete, of a run of a client and of a stream of the router', async () => {
    await using served = await testServer({ work })
    const client = createClient<{ work: typeof work }>(served.url, { token: 'alice' })
    expect(await all(toChunks(client.start('work', false)))).toEqual([
      ...begin,
      { type: 'complete', result: { rows: 1 } },
    ])
    const streamed = served.server.router.stream('work', false)
    expect(await all(toChunks(streamed))).toEqual([...begin, { type: 'complete', result: undefined }])
    await client.close()
  })

  test('gives a failure as its last chunk, and throws nothing', async () => {
    await using served = await testServer({ work })
    const client = createClient<{ work: typeof work }>(served.url, { token: 'alice' })
    const failed = { type: 'error', error: expect.objectContaining({ code: 'actor_failed' }) as unknown }
    expect(await all(toChunks(client.start('work', true)))).toEqual([...begin, failed])
    expect(await all(toChunks(served.server.router.stream('work', true)))).toEqual([...begin, failed])
    const unknown = await all(toChunks(createClient(served.url, { token: 'alice' }).start('nobody', 1)))
    expect(unknown).toMatchObject([{ type: 'start' }, { type: 'error', error: { code: 'not_found' } }])
    await client.close()
  })

  test('of a run that was cancelled from here ends with an error of that code', async () => {
    const silent = actor({
      async *stream(_: unknown, { signal }) {
        yield 'one'
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
        )
      },
    })
    await using served = await testServer({ silent })
    const client = createClient(served.url, { token: 'alice' })
    const run = client.start('silent', null)
    const chunks: Chunk[] = []
    for await (const chunk of toChunks(run)) {
      chunks.push(chunk)
      if (chunk.type === 'data') void run.cancel()
    }
    expect(chunks.at(-1)).toMatchObject({ type: 'error', error: { code: 'cancelled' } })
    await client.close()
  })

  test('of texts gives each as data, and leaves the source when its loop is left', async () => {
    let isLeft = false
    async function* texts(): AsyncGenerator<string, number> {
      try {
        yield 'a'
        yield 'b'
        return 2
      } finally {
        isLeft = true
      }
    }
    expect(await all(toChunks(texts()))).toEqual([
      { type: 'start' },
      { type: 'data', data: 'a' },
      { type: 'data', data: 'b' },
      { type: 'complete', result: 2 },
    ])
    isLeft = false
    for await (const chunk of toChunks(texts())) if (chunk.type === 'data') break
    expect(isLeft).toBe(true)
  })
})

/** Lets all that is due without time happen. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a chunk processor', () => {
  function processing(options: { maxBytes?: number; onChunk?: (text: string) => void | Promise<void> } = {}) {
    const runtime = handClock()
    const pieces: string[] = []
    const errors: MillraceError[] = []
    const { process, flush } = chunkProcessor({
      onChunk: (text) => void pieces.push(text),
      onError: (error) => errors.push(error),
      runtime,
      ...options,
    })
    return { runtime, pieces, errors, process, flush }
  }

  test('hands on what came within 50 ms in one piece, in order', async () => {
    const { runtime, pieces, process } = processing()
    for (const text of ['a', 'b', 'c']) void process(text)
    await turn()
    runtime.advance(49)
    await turn()
    expect(pieces).toEqual([])
    runtime.advance(1)
    await turn()
    expect(pieces).toEqual(['abc'])
    void process('d')
    await turn()
    runtime.advance(50)
    await turn()
    expect(pieces).toEqual(['abc', 'd'])
    expect(runtime.timers).toBe(0)
  })

  test('hands on everything at once when it is flushed, and goes on after that', async () => {
    const { runtime, pieces, process, flush } = processing()
    void process('a')
    void process('b')
    await flush()
    expect(pieces).toEqual(['ab'])
    await flush()
    void process('c')
    await turn()
    runtime.advance(50)
    await turn()
    expect(pieces).toEqual(['ab', 'c'])
  })

  test('makes a caller wait that has the most bytes waiting, and refuses one that does not wait', async () => {
    let release = (): void => {}
    const slow = new Promise<void>((resolve) => (release = resolve))
    const pieces: string[] = []
    const onChunk = async (text: string): Promise<void> => {
      await slow
      pieces.push(text)
    }
    const { runtime, errors, process, flush } = processing({ maxBytes: 20, onChunk })
    void process('0123456789')
    await turn()
    runtime.advance(50)
    await turn()
    // The first piece is being taken. Ten characters may wait behind it.
    await process('abcdefghij')
    let isTaken = false
    const third = process('KLMNOPQRST').then(() => (isTaken = true))
    await turn()
    expect(isTaken).toBe(false)
    void process('not awaited')
    await process('refused')
    expect(errors).toMatchObject([{ code: 'overloaded' }])
    release()
    const flushed = flush()
    for (let n = 0; n < 4; n++) {
      await turn()
      runtime.advance(50)
    }
    await third
    await flushed
    expect(pieces.join('')).toBe('0123456789abcdefghijKLMNOPQRSTnot awaited')
  })

  test('reports what its receiver throws, and goes on', async () => {
    const pieces: string[] = []
    const onChunk = (text: string): void => {
      if (text === 'bad') throw new TypeError('no bad text')
      pieces.push(text)
    }
    const { errors, process, flush } = processing({ onChunk })
    for (const text of ['a', 'bad', 'b']) {
      void process(text)
      await flush()
    }
    expect(pieces).toEqual(['a', 'b'])
    expect(errors.map(({ message }) => message)).toEqual(['no bad text'])
  })

  test.each([{ debounceMs: -1 }, { maxBytes: 1 }, { onChunk: undefined as never }])('refuses %j', (wrong) => {
    const onChunk = (): void => {}
    expect(() => chunkProcessor({ onChunk, ...wrong })).toThrow('chunkProcessor takes onChunk')
  })
})
