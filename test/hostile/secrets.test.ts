import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { actor } from '../../server/actors/actor.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import type { Model } from '../../server/models/model.ts'
import { bearer } from '../../server/sessions/auth.ts'
import { ws } from '../../server/transports/ws.ts'
import { OPCODE, RawSocket, rawFrame, upgradeRequest } from '../helpers/raw-socket.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { testServer } from '../helpers/server.ts'
import { stderrOf } from '../helpers/stderr.ts'
import { silent } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

const TOKEN = 'canary-token-3f9c'
const PROMPT = 'canary-prompt-77ab'
/** The receipt repeats it to the client. */
const NOTE = 'note-of-a-client-51d0'
const unlimited = { startsPerSec: 1_000_000, startBurst: 1_000_000, messagesPerSec: 1_000_000, maxStreams: 100_000 }

/** All that the server says to a client that shows its credentials like this, ids aside. */
async function refusal(url: string, headers: Record<string, string>, auth: unknown, path = '/'): Promise<string> {
  await using raw = await RawSocket.dial(url)
  raw.write(upgradeRequest(headers, path))
  const hello: UpFrame = { kind: 'hello', client: new Uint8Array(16), attempt: 1 }
  raw.write(rawFrame(encodeUp([auth === undefined ? hello : { ...hello, auth }])))
  const ending = await raw.end()
  return `${String(raw.head)} ${raw.frames.map(({ payload }) => payload.toString('hex')).join(' ')} ${ending}`
}

test('a token that is absent, wrong, or in the URL is refused with the same bytes', async () => {
  // HELLO comes with the request, which µWebSockets does not wait for.
  const transport = ws()
  await using server = await testServer({ silent: silent() }, { transport, authenticate: bearer({ [TOKEN]: 'alice' }) })
  const { url } = server
  const answers = await Promise.all([
    refusal(url, {}, undefined),
    refusal(url, {}, 'wrong'),
    refusal(url, {}, TOKEN.slice(0, -1)),
    refusal(url, {}, `${TOKEN} `),
    refusal(url, {}, { token: TOKEN }),
    refusal(url, { Authorization: 'Bearer wrong' }, undefined),
    refusal(url, { Authorization: `Basic ${TOKEN}` }, undefined),
    refusal(url, { Cookie: `token=${TOKEN}` }, undefined),
    refusal(url, {}, undefined, `/?token=${TOKEN}`),
    refusal(url, {}, undefined, `/?access_token=${TOKEN}&auth=${TOKEN}#${TOKEN}`),
    refusal(url, {}, undefined, `/${TOKEN}`),
    refusal(url, { 'Sec-WebSocket-Protocol': `millrace.v1, ${TOKEN}` }, undefined),
  ])
  expect(new Set(answers).size).toBe(1)
  expect(answers[0]).toMatch(/ 4401$/)
})

const guesses = repetitions({ quick: 500, full: 10_000 })
test(`${guesses} guesses at a run get one and the same answer, whether or not it exists`, async () => {
  await using server = await testServer({ silent: silent() }, { limits: unlimited })
  await using alice = await server.client()
  await using bob = await server.client({ auth: 'bob' })
  alice.start(1, 'silent')
  const { run } = await alice.next('opened', 1)
  expect(Buffer.from(run.slice(2), 'base64url').length).toBeGreaterThanOrEqual(16)
  const random = seededRandom(1)
  const near = (): string => {
    const at = Math.floor(random() * run.length)
    return run.slice(0, at) + String.fromCharCode(33 + Math.floor(random() * 90)) + run.slice(at + 1)
  }
  const odd = [
    '',
    ' ',
    run.toUpperCase(),
    `${run} `,
    ` ${run}`,
    `${run}\0`,
    '__proto__',
    'constructor',
    run.slice(0, -1),
  ]
  const ids = [run, ...odd, ...Array.from({ length: guesses }, near)].filter((id, n) => n === 0 || id !== run)
  const said = new Set<string>()
  for (let at = 0; at < ids.length; at += 500) {
    const some = ids.slice(at, at + 500)
    bob.send(...some.map((id, n): UpFrame => ({ kind: 'attach', sid: at + n + 1, run: id, after: 0, options: {} })))
    for (const frame of some.map((_, n) => bob.next('end', at + n + 1))) {
      const { sid: _, ...answer } = await frame
      said.add(JSON.stringify(answer))
    }
    ;(bob.frames as unknown[]).length = 0
  }
  expect([...said]).toHaveLength(1)
  expect([...said][0]).toContain('not_found')
  expect(server.server.liveRuns).toBe(1)
})

test('a principal that floods with starts and cancels does not stop another from starting', async () => {
  await using server = await testServer(demoActors)
  await using bob = await server.client({ auth: 'bob' })
  let flooding = true
  const flood = (async () => {
    while (flooding) {
      await using mallory = await server.client()
      for (let sid = 1; flooding && mallory.socket.readyState === mallory.socket.OPEN; sid++) {
        mallory.start(sid, 'sleep', { ms: 60_000 })
        if (sid % 2 === 0) mallory.send({ kind: 'cancel', sid })
        if (sid % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    }
  })()
  const times: number[] = []
  for (let sid = 1; sid <= 40; sid++) {
    const at = performance.now()
    bob.start(sid, 'count', { to: 3 })
    expect((await bob.next('end', sid)).outcome).toBe('done')
    times.push(performance.now() - at)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  flooding = false
  await flood
  times.sort((a, b) => a - b)
  console.log(`start during a flood: median ${times[20]?.toFixed(1)} ms, worst ${times.at(-1)?.toFixed(1)} ms`)
})

test('the slots that one principal has taken do not count for another', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { ...unlimited, maxRuns: 50 } })
  await using alice = await server.client()
  await using bob = await server.client({ auth: 'bob' })
  for (let sid = 1; sid <= 60; sid++) alice.start(sid, 'silent')
  expect((await alice.next('end', 60)).data).toMatchObject({ code: 'overloaded' })
  bob.start(1, 'silent')
  await bob.next('opened', 1)
})

test('names given by clients cannot write a line of the log, nor steer a terminal', async () => {
  const evil = 'x\n{"level":"info"}\r\u001b[2J\u009b31m\u2028\u2029\u0085end'
  const failing = actor({
    async *stream(input: unknown) {
      yield 'a'
      throw new Error(`cannot do ${String(input)}`)
    },
  })
  const written = await stderrOf(async () => {
    await using server = await testServer({ failing }, { onError: undefined as never, logger: undefined as never })
    await using client = await server.client()
    client.start(1, 'failing', evil, { key: evil.slice(0, 20), meta: { [evil]: evil } })
    await client.next('end', 1)
    client.start(2, evil, evil)
    await client.next('end', 2)
    client.start(3, 'failing', evil)
    client.send({ kind: 'cancel', sid: 3, note: evil })
    client.send({ kind: 'input', sid: 3, mid: evil.slice(0, 10), type: evil, data: evil })
    await client.next('end', 3)
  })
  const lines = written.split('\n').filter((line) => line !== '')
  expect(lines.length).toBeGreaterThan(0)
  for (const line of lines)
    expect(line).toMatch(
      /^millrace: (error in actor failing, run r_[\w-]+: ".*"|warning: a client asked for .*: \{.*\})$/,
    )

  expect(written.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
})

/** Says nothing: a model may repeat the prompt to the client that sent it. */
const mute: Model = {
  id: 'test:mute',
  provider: 'test',
  async *stream() {
    yield { type: 'finish', stop: 'stop' }
  },
}

test('tokens and prompts are in no log and no answer, whatever goes wrong', async () => {
  const frames: unknown[] = []
  const records: unknown[] = []
  const write = (...record: unknown[]): void => void records.push(record)
  const written = await stderrOf(async () => {
    await using server = await testServer(
      { ...demoActors, silent: silent() },
      {
        authenticate: bearer({ [TOKEN]: 'alice' }),
        defaultModel: mute,
        onError: undefined as never,
        logger: { debug: write, info: write, warn: write, error: write },
      },
    )
    const refused = await server.client({ auth: `${TOKEN}x`, hello: 'unanswered', headers: { 'x-token': TOKEN } })
    await refused.closed
    frames.push(...refused.frames)
    await using client = await server.client({ auth: TOKEN, headers: { authorization: `Bearer ${TOKEN}` } })
    client.start(1, 'count', { to: PROMPT })
    client.start(2, 'chat', { messages: [{ role: 'user', content: PROMPT }] })
    client.start(3, 'chat', { wrong: PROMPT })
    client.start(4, 'silent', PROMPT, { meta: { prompt: PROMPT }, key: PROMPT })
    client.send({ kind: 'input', sid: 4, mid: 'm', type: 'message', data: PROMPT })
    client.send({ kind: 'cancel', sid: 4, note: NOTE })
    for (const sid of [1, 2, 3, 4]) await client.next('end', sid)
    frames.push(...client.frames)
    const faulty = await server.client({ auth: TOKEN })
    faulty.sendRaw(
      Buffer.concat([
        encodeUp([{ kind: 'start', sid: 1, actor: 'silent', input: PROMPT, options: {} }]),
        Buffer.of(0xc1),
      ]),
    )
    await faulty.closed
    frames.push(...faulty.frames)
  })
  for (const event of ['connection.refused', 'run.refused', 'run.started', 'run.ended', 'connection.closed'])
    expect(records).toContainEqual([expect.objectContaining({ event }), expect.any(String)])
  expect(written + JSON.stringify(frames) + inspect(records, { depth: null })).not.toMatch(/canary/)
  expect(written + inspect(records, { depth: null })).not.toContain(NOTE)
})

test('the reason of a close names no more than the rule', async () => {
  await using server = await testServer({ silent: silent() }, { authenticate: bearer({ [TOKEN]: 'alice' }) })
  await using raw = await RawSocket.open(server.url)
  raw.message(encodeUp([{ kind: 'hello', auth: TOKEN, client: new Uint8Array(16), attempt: 1 }]))
  raw.message(encodeUp([{ kind: 'start', sid: 1, actor: PROMPT, input: TOKEN, options: { key: 'x'.repeat(65) } }]))
  expect(await raw.end()).toBe(4400)
  const close = raw.frames.find(({ opcode }) => opcode === OPCODE.close)
  expect(close?.payload.subarray(2).toString()).toBe('malformed key')
})
