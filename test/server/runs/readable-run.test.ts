import { describe, expect, test, vi } from 'vitest'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { LocalReader } from '../../../server/runs/local-reader.ts'
import { Registry } from '../../../server/sessions/registry.ts'
import { RunElsewhere } from '../../helpers/run-elsewhere.ts'
import { eventually, type TestServer, testServer } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

type Reached = { run: RunElsewhere; client: WireClient } & AsyncDisposable

/** A client of alice, attached as stream 1 to a run that another process holds. */
async function reached(credit = 256): Promise<Reached> {
  const run = new RunElsewhere('alice')
  const find = vi.spyOn(Registry.prototype, 'find').mockReturnValue({ run, own: true })
  const served: TestServer<{ silent: ReturnType<typeof silent> }> = await testServer({ silent: silent() })
  const client = await served.client()
  client.attach(1, run.id, 0, { credit })
  await client.next('opened')
  return {
    run,
    client,
    async [Symbol.asyncDispose]() {
      find.mockRestore()
      await client[Symbol.asyncDispose]()
      await served[Symbol.asyncDispose]()
    },
  }
}

describe('a client of a run that another process holds', () => {
  test('is sent its items as they arrive, and its end', async () => {
    await using at = await reached()
    at.run.texts('Hello')
    await at.client.until(() => at.client.text(1) === 'Hello')
    at.run.texts(' wor', 'ld')
    at.run.data('n', 1)
    at.run.ends('done', { ms: 5 })
    expect(await at.client.next('end')).toMatchObject({ seq: 5, outcome: 'done', data: { ms: 5 } })
    expect(at.client.items(1).map(({ text, data }) => text ?? data)).toEqual([
      'Hello',
      ' wor',
      'ld',
      { name: 'n', value: 1 },
    ])
    await eventually(() => at.run.readers.size === 0, 'the reader has left')
  })

  test('is sent as much as it grants, and the run learns that it has moved', async () => {
    await using at = await reached(2)
    at.run.texts('a', 'b', 'c', 'd')
    await at.client.until(() => at.client.count(1) === 2)
    await at.client.settle()
    expect(at.client.text(1)).toBe('ab')
    const { moves } = at.run
    at.client.send({ kind: 'credit', sid: 1, n: 1 })
    await at.client.until(() => at.client.count(1) === 3)
    expect(at.run.moves).toBeGreaterThan(moves)
  })

  test('stops it: the cancel is passed on at once, and the receipt comes with the end', async () => {
    await using at = await reached()
    at.client.send({ kind: 'cancel', sid: 1, code: 1, note: 'enough' })
    await eventually(() => at.run.asked.length === 1, 'the cancel is asked for')
    expect(at.run.asked).toEqual([{ what: 'cancel', why: { by: 'client', code: 1, note: 'enough', cascade: true } }])
    at.run.texts('unwanted')
    at.run.ends('cancelled', { code: 1, settled: true })
    expect(await at.client.next('end')).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    expect(at.client.text(1)).toBe('')
  })

  test.each(['call', 'agent'] as const)(
    'gets the answer to a cancel of one %s when the other process has it',
    async (type) => {
      await using at = await reached()
      at.client.send({ kind: 'cancel', sid: 1, target: { type, id: 'there' } })
      at.client.send({ kind: 'cancel', sid: 1, target: { type, id: 'gone' } })
      await eventually(() => at.run.asked.length === 2, 'both are asked for')
      await at.client.settle()
      expect(at.client.frames.filter(({ kind }) => kind === 'notice')).toEqual([])
      for (const asked of at.run.asked) {
        expect(asked.what).toBe(type)
        if (asked.what === 'call' || asked.what === 'agent') asked.answer(asked.id === 'there')
      }
      expect(await at.client.next('notice')).toMatchObject({
        code: 'not_found',
        ref: { sid: 1, detail: [type, 'gone'] },
      })
      await at.client.settle()
      expect(at.client.frames.filter(({ kind }) => kind === 'notice')).toHaveLength(1)
    },
  )

  test('gets the answer to an input when the other process has it, whatever came meanwhile', async () => {
    await using at = await reached()
    at.client.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message', data: 'faster' })
    await eventually(() => at.run.asked.length === 1, 'the input is handed on')
    at.run.texts('still the old way')
    await at.client.until(() => at.client.count(1) === 1)
    expect(at.client.frames.filter(({ kind }) => kind === 'input_ack')).toEqual([])
    const [asked] = at.run.asked
    if (asked?.what === 'input') asked.answer({ status: 'busy', note: 'later' })
    expect(await at.client.next('input_ack')).toEqual({
      kind: 'input_ack',
      sid: 1,
      mid: 'm1',
      status: 'busy',
      note: 'later',
    })
  })

  test('may be gone when the other process answers, and nothing fails', async () => {
    await using at = await reached()
    at.client.send({ kind: 'input', sid: 1, mid: 'm1', type: 'message', data: 'faster' })
    at.client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'c1' } })
    await eventually(() => at.run.asked.length === 2, 'both are handed on')
    at.client.cut()
    await eventually(() => at.run.readers.size === 0, 'the reader has left')
    for (const asked of at.run.asked) {
      if (asked.what === 'input') asked.answer({ status: 'accepted' })
      else if (asked.what !== 'cancel') asked.answer(false)
    }
  })
})

test('a reader inside this process follows a run that another process holds', async () => {
  const run = new RunElsewhere('alice')
  const reader = new LocalReader(run, DEFAULT_LIMITS, 8)
  const first = reader.next()
  run.texts('a', 'b')
  expect(await first).toMatchObject({ type: 'token', text: 'a', seq: 1 })
  expect(await reader.next()).toMatchObject({ type: 'token', text: 'b', seq: 2 })
  const last = reader.next()
  run.ends('done', {})
  expect(await last).toBeUndefined()
})
