import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LineCutter, LineTooLong } from '../../../server/streams/lines.ts'
import { ndjsonFilter } from '../../../server/streams/ndjson.ts'
import { type ServerSentEvent, sseEvents } from '../../../server/streams/sse.ts'
import { readAll } from '../../helpers/read-all.ts'

const encoder = new TextEncoder()

/** A body that gives one chunk for each read, and counts the reads. */
function bodyOf(chunks: readonly (string | Uint8Array)[]): {
  body: ReadableStream<Uint8Array>
  reads: () => number
  cancelled: () => boolean
} {
  let reads = 0
  let cancelled = false
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const chunk = chunks[reads++]
        if (chunk === undefined) controller.close()
        else controller.enqueue(typeof chunk === 'string' ? encoder.encode(chunk) : chunk)
      },
      cancel() {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  return { body, reads: () => reads, cancelled: () => cancelled }
}

async function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return new Response(stream).text()
}

/** The text as bytes, cut at the given places. */
function cut(text: string, places: readonly number[]): Uint8Array[] {
  const bytes = encoder.encode(text)
  const at = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
  return at.slice(1).map((end, index) => bytes.slice(at[index], end))
}

describe('a line cutter', () => {
  test('gives the same lines wherever the chunks are cut', () => {
    const lines = fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', '')))
    fc.assert(
      fc.property(lines, fc.array(fc.nat()), (texts, places) => {
        const cutter = new LineCutter(10_000)
        const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
        const seen = cut(texts.map((text) => `${text}\n`).join(''), places).flatMap((chunk) =>
          cutter.push(chunk).map((line) => decoder.decode(line)),
        )
        expect(seen).toEqual(texts)
        expect(cutter.end()).toBeUndefined()
      }),
    )
  })

  test('gives the rest behind the last newline at the end', () => {
    const cutter = new LineCutter(100)
    cutter.push(encoder.encode('one\ntw'))
    cutter.push(encoder.encode('o'))
    expect(new TextDecoder().decode(cutter.end())).toBe('two')
    expect(cutter.end()).toBeUndefined()
  })

  test('refuses a line beyond its limit, in one chunk or in many', () => {
    expect(() => new LineCutter(4).push(encoder.encode('12345\n'))).toThrow(LineTooLong)
    expect(new LineCutter(4).push(encoder.encode('1234\n'))).toHaveLength(1)
    const cutter = new LineCutter(4)
    cutter.push(encoder.encode('1234'))
    expect(() => cutter.push(encoder.encode('5'))).toThrow(LineTooLong)
  })

  test('keeps no view of its chunks', () => {
    const cutter = new LineCutter(100)
    const chunk = encoder.encode('one\nrest')
    cutter.push(chunk)
    chunk.fill(0)
    expect(new TextDecoder().decode(cutter.end())).toBe('rest')
  })
})

describe('newline-delimited JSON', () => {
  test('passes whole lines as they came, wherever the chunks are cut', async () => {
    const text = '{"a":"smørrebrød"}\n{"b":"👩‍👩‍👧"}\n'
    for (let at = 0; at <= encoder.encode(text).length; at++) {
      const { body } = bodyOf(cut(text, [at]))
      expect(await textOf(ndjsonFilter(body, { onMalformed: () => expect.unreachable() }))).toBe(text)
    }
  })

  test('skips malformed lines and counts each once', async () => {
    let malformed = 0
    const { body } = bodyOf(['{"a":1}\nno\n', '{"b"', '\n\n{"c":3}'])
    expect(await textOf(ndjsonFilter(body, { onMalformed: () => malformed++ }))).toBe('{"a":1}\n{"c":3}\n')
    expect(malformed).toBe(2)
  })

  test('takes a line that the check does not accept as malformed', async () => {
    let malformed = 0
    const { body } = bodyOf(['1\n{"a":1}\n'])
    const check = (value: unknown): boolean => typeof value === 'object'
    expect(await textOf(ndjsonFilter(body, { onMalformed: () => malformed++, check }))).toBe('{"a":1}\n')
    expect(malformed).toBe(1)
  })

  test.each(['{"a":1}\n{"stop":1}\n{"b":1}\n', '{"a":1}\n{"stop":1}'])(
    'gives the lines before the one whose check threw, then that error: %j',
    async (text) => {
      const failure = new Error('stop')
      const { body } = bodyOf([text])
      const check = (value: object): boolean => {
        if ('stop' in value) throw failure
        return true
      }
      const reader = ndjsonFilter(body, {
        onMalformed: () => {},
        check: check as (value: unknown) => boolean,
      }).getReader()
      expect(new TextDecoder().decode((await reader.read()).value)).toBe('{"a":1}\n')
      await expect(reader.read()).rejects.toBe(failure)
    },
  )

  test('ends in an error, and cancels its body, when a line is too long', async () => {
    const { body, cancelled } = bodyOf(['{"a":1}\n', 'x'.repeat(60), 'x'.repeat(60), 'x'])
    const reader = ndjsonFilter(body, { onMalformed: () => {}, maxLineBytes: 100 }).getReader()
    await reader.read()
    await expect(reader.read()).rejects.toThrow(LineTooLong)
    expect(cancelled()).toBe(true)
  })

  test('reads its body only when it is read', async () => {
    const { body, reads, cancelled } = bodyOf(['{"a":1}\n', '{"b":1}\n', '{"c":1}\n'])
    const reader = ndjsonFilter(body, { onMalformed: () => {} }).getReader()
    expect(reads()).toBe(0)
    await reader.read()
    expect(reads()).toBe(1)
    await reader.cancel()
    expect(cancelled()).toBe(true)
  })
})

describe('server-sent events', () => {
  async function dataOf(chunks: readonly (string | Uint8Array)[], maxBytes?: number): Promise<string[]> {
    const events = await readAll(sseEvents(bodyOf(chunks).body, maxBytes))
    return events.map(({ data }) => data)
  }

  test('give their data, wherever the chunks are cut', async () => {
    const text = ': hello\n\nevent: x\ndata: smørrebrød\nid: 1\n\ndata:👩‍👩‍👧\r\n\r\ndata: [DONE]\n\n'
    for (let at = 0; at <= encoder.encode(text).length; at++) {
      expect(await dataOf(cut(text, [at]))).toEqual(['smørrebrød', '👩‍👩‍👧', '[DONE]'])
    }
  })

  test('join the lines of one event, and give the last one without its blank line', async () => {
    expect(await dataOf(['data: {\ndata: }\n\ndata: last\n'])).toEqual(['{\n}', 'last'])
    expect(await dataOf(['data: last'])).toEqual(['last'])
  })

  test.each(['\n', '\r\n', '\r'])('may end their lines with %j, wherever the chunks are cut', async (end) => {
    const text = ['event: a', 'data: 1', 'data: 2', '', 'data: 3', '', ''].join(end)
    for (let at = 0; at <= text.length; at++) {
      const seen: ServerSentEvent[] = []
      for await (const event of sseEvents(bodyOf(cut(text, [at])).body)) seen.push(event)
      expect(seen).toEqual([
        { event: 'a', data: '1\n2' },
        { event: '', data: '3' },
      ])
    }
  })

  test('are refused when a line, or an event of many lines, is too long', async () => {
    await expect(dataOf([`data: ${'x'.repeat(100)}`], 64)).rejects.toThrow(LineTooLong)
    await expect(dataOf(['data: 12345678\n'.repeat(10)], 64)).rejects.toThrow(LineTooLong)
  })

  test('cancel their body when they are left', async () => {
    const { body, cancelled, reads } = bodyOf(['data: 1\n\n', 'data: 2\n\n'])
    for await (const _ of sseEvents(body)) break
    expect(cancelled()).toBe(true)
    expect(reads()).toBe(1)
  })
})
