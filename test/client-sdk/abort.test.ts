import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { CANCEL_CODES } from '../../protocol/receipt.ts'
import { cancelled, done, opened, ScriptedServer } from '../helpers/scripted-server.ts'
import { testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'

/** The CANCEL that an abort with this reason sends. */
async function cancelFor(reason: unknown): Promise<{ code: number | undefined; note: string | undefined }> {
  const server = new ScriptedServer()
  const controller = new AbortController()
  server.client().start('chat', {}, { signal: controller.signal })
  server.socket.welcome()
  server.socket.say(opened(1))
  controller.abort(reason)
  await server.settle()
  const { code, note } = server.socket.last('cancel')
  return { code, note }
}

const hostile = {
  get name(): string {
    throw new Error('a getter')
  },
}

describe('the reason of an abort', () => {
  test.each<[string, unknown, keyof typeof CANCEL_CODES, string | undefined]>([
    ['none', undefined, 'user', undefined],
    ['null', null, 'user', undefined],
    ['an AbortError', new DOMException('stop', 'AbortError'), 'user', undefined],
    ['a TimeoutError', new DOMException('late', 'TimeoutError'), 'timeout', undefined],
    ['the name of a reason', 'superseded', 'superseded', undefined],
    ['another text', 'the tab was closed', 'unspecified', 'the tab was closed'],
    ['the name of a method', 'toString', 'unspecified', 'toString'],
    ['an error', new Error('no route'), 'unspecified', 'no route'],
    ['a number', 7, 'unspecified', '7'],
    ['a long text', 'x'.repeat(300), 'unspecified', 'x'.repeat(85)],
    ['an object whose getter throws', hostile, 'unspecified', undefined],
    ['an object without a text', Object.create(null), 'unspecified', undefined],
  ])('%s is on the cancel', async (_, reason, name, note) => {
    expect(await cancelFor(reason)).toEqual({ code: CANCEL_CODES[name], note })
  })

  test('is on the receipt of a real server, for a time limit of the client', async () => {
    await using server = await testServer({ silent: silent() })
    const client = createClient(server.url, { token: 'alice' })
    const run = client.start('silent', null, { signal: AbortSignal.timeout(20) })
    expect(await run.end).toMatchObject({ outcome: 'cancelled', receipt: { reason: 'timeout', by: 'client' } })
    await client.close()
  })

  test('is on the receipt of a run that was aborted before its start left', async () => {
    const controller = new AbortController()
    controller.abort('navigation')
    const run = new ScriptedServer().client().start('chat', {}, { signal: controller.signal })
    expect(await run.end).toMatchObject({ receipt: { reason: 'navigation' } })
  })
})

describe('one signal', () => {
  test('of many runs has one listener, cancels them all, and has none in the end', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const controller = new AbortController()
    const { signal } = controller
    const other = client.start('chat', {})
    const runs = Array.from({ length: 30 }, () => client.start('chat', {}, { signal }))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    server.socket.welcome()
    server.socket.say(...runs.map((_, n) => opened(n + 2, { run: `r_${n}` })), opened(1), done(2, 1))
    await runs[0]?.end
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    controller.abort()
    await server.settle()
    expect(server.socket.all('cancel').map(({ sid }) => sid)).toEqual(Array.from({ length: 29 }, (_, n) => n + 3))
    server.socket.say(...runs.slice(1).map((_, n) => cancelled(n + 3, 1)))
    await Promise.all(runs.map((run) => run.end))
    expect(getEventListeners(signal, 'abort')).toEqual([])
    server.socket.say(done(1, 1, { result: 'untouched' }))
    expect(await other.result).toBe('untouched')
  })

  test('of many runs makes Node warn of nothing', async () => {
    const warnings: Error[] = []
    const warn = (warning: Error): void => void warnings.push(warning)
    process.on('warning', warn)
    const client = new ScriptedServer().client()
    const { signal } = new AbortController()
    for (let n = 0; n < 20; n++) client.start('chat', {}, { signal })
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', warn)
    expect(warnings).toEqual([])
  })

  test('that cannot be listened to begins nothing', async () => {
    const server = new ScriptedServer()
    const client = server.client()
    const signal = Object.assign(new AbortController().signal, {
      addEventListener() {
        throw new Error('no listeners')
      },
    })
    expect(() => client.start('chat', {}, { signal })).toThrow('no listeners')
    await client.close()
    expect(server.sockets).toEqual([])
    expect(server.time.pending).toBe(0)
  })
})
