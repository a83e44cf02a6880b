import { expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'

const { maxDown, maxMessage } = DEFAULT_LIMITS
const long = 'ä'.repeat(100_000)

function manyOf(frame: (n: number) => UpFrame): Uint8Array {
  return encodeUp(Array.from({ length: 10_000 }, (_, n) => frame(n + 1)))
}

test('a name of 200 KB is refused in a short message', async () => {
  await using server = await testServer({ ...demoActors, silent: silent() })
  await using client = await server.client()
  client.start(1, long)
  client.start(2, 'count', { to: 1, [long]: 1 })
  client.start(3, 'silent')
  client.send({ kind: 'cancel', sid: 3, target: { type: 'call', id: long } })
  client.attach(4, long, 0)
  expect((await client.next('end', 1)).data).toMatchObject({ code: 'not_found' })
  expect((await client.next('end', 2)).data).toMatchObject({ code: 'invalid_input' })
  expect(await client.next('notice')).toMatchObject({ code: 'not_found' })
  expect((await client.next('end', 4)).data).toMatchObject({ code: 'not_found' })
  expect(Math.max(...client.sizes)).toBeLessThan(2_000)
})

test.each([
  ['inputs', (n: number): UpFrame => ({ kind: 'input', sid: 1, mid: String(n), type: '', data: null })],
  ['starts', (n: number): UpFrame => ({ kind: 'start', sid: n + 1, actor: '', input: null, options: {} })],
  ['attaches', (n: number): UpFrame => ({ kind: 'attach', sid: n + 1, run: '', after: 0, options: {} })],
])('a message of 10,000 %s is answered in messages of the allowed size, then closed 4429', async (_, frame) => {
  await using server = await testServer({ silent: silent() })
  const client = await server.client()
  client.start(1, 'silent')
  await client.next('opened', 1)
  client.sendRaw(manyOf(frame))
  expect(await client.closed).toBe(4429)
  expect(client.frames.length).toBeGreaterThan(4_000)
  expect(client.frames.length).toBeLessThan(5_000)
  expect(Math.max(...client.sizes)).toBeLessThanOrEqual(maxDown)
})

test('the answers to 2,000 inputs in one message all arrive, in order, in messages of the allowed size', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { maxDown: 70_000, maxEvent: 65_536 } })
  await using client = await server.client()
  client.start(1, 'silent')
  const mids = Array.from({ length: 2_000 }, (_, n) => `m${n}`)
  client.send(...mids.map((mid): UpFrame => ({ kind: 'input', sid: 1, mid, type: 'message', data: null })))
  await client.settle()
  expect(client.frames.flatMap((frame) => (frame.kind === 'input_ack' ? [frame.mid] : []))).toEqual(mids)
  expect(Math.max(...client.sizes)).toBeLessThanOrEqual(70_000)
})

test('a message of 131,072 frames that say nothing is closed 4429 before they are read', async () => {
  await using server = await testServer({ silent: silent() })
  const client = await server.client()
  client.sendRaw(Buffer.alloc(maxMessage, Uint8Array.of(0x91, 0x60)))
  expect(await client.closed).toBe(4429)
})
