import { describe, expect, test } from 'vitest'
import type { UpFrame } from '../../protocol/frames.ts'
import { agent, type ModelRequest, uploads } from '../../server/index.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { aborted } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const TEXT = Buffer.from('hello')

let sent = 0
const piece = (sid: number, data: unknown, type = 'piece'): UpFrame => ({
  kind: 'input',
  sid,
  mid: `u${++sent}`,
  type,
  data,
})

/** A server that takes uploads of alice up to 8 KiB together, and an agent whose model waits until it is stopped. */
async function served() {
  const clock = handClock()
  const files = uploads({ maxBytes: 8_192, maxBytesPerPrincipal: 8_192 })
  const model = scriptedModel(async function* ({ signal }: ModelRequest) {
    await aborted(signal)
    signal.throwIfAborted()
    yield { type: 'text', text: '' }
  })
  const actors = { uploads: files, chat: agent({ model, files: { uploads: files } }) }
  const made = await testServer(actors, { runtime: clock, limits: { heartbeatMs: 1_000_000 } })
  return Object.assign(made, { clock, model })
}

async function uploaded(client: WireClient, sid: number): Promise<string> {
  client.start(sid, 'uploads', { type: 'text/plain', size: TEXT.length })
  client.send(piece(sid, { at: 0, bytes: TEXT }))
  const { data } = await client.next('end', sid)
  return (data as { result: { upload: string } }).result.upload
}

describe('a piece', () => {
  test.each([
    ['of another place', { at: 1, bytes: TEXT }],
    ['of a negative place', { at: -1, bytes: TEXT }],
    ['of no bytes', { at: 0, bytes: new Uint8Array() }],
    ['of too many bytes', { at: 0, bytes: new Uint8Array(6) }],
    ['of text', { at: 0, bytes: 'hello' }],
    ['with more', { at: 0, bytes: TEXT, more: 1 }],
    ['that is no map', [0, TEXT]],
    ['that is nothing', null],
  ])('%s ends its upload with invalid_input and gives its room back', async (_, data) => {
    await using made = await served()
    await using client = await made.client()
    for (let sid = 1; sid <= 3; sid++) {
      client.start(sid, 'uploads', { type: 'text/plain', size: TEXT.length })
      client.send(piece(sid, data))
      expect(await client.next('end', sid)).toMatchObject({ outcome: 'error', data: { code: 'invalid_input' } })
    }
    expect(made.errors).toEqual([])
  })
})

describe('an upload that is removed while a run holds it', () => {
  test('counts until the run has ended, and then gives its room back', async () => {
    await using made = await served()
    await using client = await made.client()
    const upload = await uploaded(client, 1)
    client.start(2, 'chat', { prompt: [{ type: 'file', upload }] })
    await eventually(() => made.model.asked.length === 1, 'the model is asked')
    client.start(3, 'uploads', { remove: upload })
    expect(await client.next('end', 3)).toMatchObject({ outcome: 'done' })
    const again = { type: 'text/plain', size: 8_192 }
    client.start(4, 'uploads', again)
    expect(await client.next('end', 4)).toMatchObject({ data: { code: 'overloaded' } })
    client.start(5, 'uploads', { remove: upload })
    expect(await client.next('end', 5)).toMatchObject({ data: { code: 'not_found' } })
    client.send({ kind: 'cancel', sid: 2 })
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await eventually(() => made.server.liveRuns === 0, 'it has settled')
    client.start(6, 'uploads', again)
    expect(await client.next('opened', 6)).toMatchObject({ sid: 6 })
    client.send({ kind: 'cancel', sid: 6 })
    await client.next('end', 6)
  })

  test('of another principal is neither found nor removed', async () => {
    await using made = await served()
    await using alice = await made.client()
    await using bob = await made.client({ auth: 'bob' })
    const upload = await uploaded(alice, 1)
    bob.start(1, 'uploads', { remove: upload })
    expect(await bob.next('end', 1)).toMatchObject({ data: { code: 'not_found' } })
    bob.start(2, 'chat', { prompt: [{ type: 'file', upload }] })
    expect(await bob.next('end', 2)).toMatchObject({ data: { code: 'not_found' } })
    alice.start(2, 'uploads', { remove: upload })
    expect(await alice.next('end', 2)).toMatchObject({ outcome: 'done' })
  })
})

test('uploads that are begun and left in many ways give their room back', async () => {
  await using made = await served()
  await using client = await made.client()
  for (let sid = 1; sid <= 40; sid += 2) {
    client.start(sid, 'uploads', { type: 'text/plain', size: 8_192 })
    client.send(piece(sid, { at: 0, bytes: TEXT }), { kind: 'cancel', sid })
    expect(await client.next('end', sid)).toMatchObject({ outcome: 'cancelled' })
    await eventually(() => made.server.liveRuns === 0, 'it has settled')
    client.start(sid + 1, 'uploads', { type: 'text/plain', size: 8_192 })
    client.send(piece(sid + 1, 'go on', 'message'))
    expect(await client.next('end', sid + 1)).toMatchObject({ data: { code: 'invalid_input' } })
  }
})
