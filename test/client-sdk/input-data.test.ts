import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { collected, type Held } from '../helpers/garbage.ts'
import { cut, openRun } from '../helpers/scripted-run.ts'
import { ScriptedServer } from '../helpers/scripted-server.ts'

afterEach(() => vi.unstubAllGlobals())

/** The input that a client sends for `input`. */
function sent(input: unknown): unknown {
  const server = new ScriptedServer()
  server.client().start('chat', input as object)
  server.socket.welcome()
  return server.socket.last('start').input
}

/** A deep proxy, as the state of Vue, MobX and Solid is: each object is another proxy of its own. */
function reactive<T extends object>(target: T): T {
  return new Proxy(target, {
    get(object, name, receiver): unknown {
      const value: unknown = Reflect.get(object, name, receiver)
      return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) ? reactive(value) : value
    },
    ownKeys: (object) => Reflect.ownKeys(object),
  })
}

describe('an input', () => {
  const conversation = { messages: [{ role: 'user', content: 'hi', image: Uint8Array.of(1, 2) }], n: 1 }

  test('may be the reactive state of a front end', () => {
    expect(sent(reactive(conversation))).toEqual(conversation)
    expect(sent(reactive([1, [2, { three: 3 }]]))).toEqual([1, [2, { three: 3 }]])
    const marked = Object.assign({ a: 1 }, { [Symbol('administration')]: { values: new Map() } })
    expect(sent(reactive(marked))).toEqual({ a: 1 })
  })

  test('may be reactive state in a message to a run, and in meta', async () => {
    const { run, socket, server, client } = await openRun()
    void run.send('message', reactive(conversation))
    client.start('chat', {}, { meta: reactive({ page: { path: '/a' } }) })
    await server.settle()
    expect(socket.last('input').data).toEqual(conversation)
    expect(socket.last('start').options.meta).toEqual({ page: { path: '/a' } })
  })

  test('needs no structuredClone, which React Native does not have', () => {
    vi.stubGlobal('structuredClone', undefined)
    expect(sent(conversation)).toEqual(conversation)
  })

  test('may hold bytes of another realm, and every view of a buffer', () => {
    const buffer = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7).buffer
    const views = {
      foreign: runInNewContext('new Uint8Array([1, 2, 3])') as unknown,
      node: Buffer.from('hi'),
      data: new DataView(buffer, 2, 3),
      clamped: new Uint8ClampedArray(buffer, 1, 2),
      words: new Uint16Array(buffer, 2, 1),
      foreignData: runInNewContext('new DataView(Uint8Array.of(9, 8).buffer)') as unknown,
    }
    expect(sent(views)).toEqual({
      foreign: Uint8Array.of(1, 2, 3),
      node: Uint8Array.of(0x68, 0x69),
      data: Uint8Array.of(2, 3, 4),
      clamped: Uint8Array.of(1, 2),
      words: Uint8Array.of(2, 3),
      foreignData: Uint8Array.of(9, 8),
    })
    expect(sent(runInNewContext('({ list: [{ a: 1 }] })'))).toEqual({ list: [{ a: 1 }] })
  })

  test('and a key may be bytes of another realm', () => {
    const server = new ScriptedServer()
    server.client().start('chat', {}, { key: runInNewContext('new Uint8Array([7, 8])') as Uint8Array })
    server.socket.welcome()
    expect(server.socket.last('start').options.key).toEqual(Uint8Array.of(7, 8))
  })

  test('that is a small view of a large buffer does not keep the buffer', async () => {
    const { client, run, server, socket } = await openRun()
    const large = (): [WeakRef<ArrayBufferLike>, Uint8Array] => {
      const { buffer } = new Uint8Array(50_000_000)
      return [new WeakRef(buffer), new Uint8Array(buffer, 5, 10)]
    }
    const begin = (): Held => {
      const [ofInput, input] = large()
      const [ofKey, key] = large()
      const [ofMessage, message] = large()
      client.start('chat', { input } as object, { key })
      void run.send('message', message)
      return { input: ofInput, key: ofKey, message: ofMessage }
    }
    const buffers = begin()
    await server.settle()
    expect(socket.said()).toEqual(['input', 'start'])
    await collected(buffers)
  })

  test('has the same bytes when it is sent again, whatever was done to it meanwhile', async () => {
    const server = new ScriptedServer()
    const input = {
      z: -0,
      a: 1.5,
      10: 'ten',
      2: 'two',
      large: 2 ** 40,
      none: undefined,
      list: [undefined, null, Number.NaN, '\ud800'],
      bytes: Uint8Array.of(1, 2),
      deep: { b: { y: 1, x: 2 } },
    }
    server.client().start('chat', input as object)
    server.socket.welcome()
    const first = server.socket.last('start')
    input.a = 2
    input.bytes[0] = 9
    input.deep.b.y = 5
    input.list.push('more')
    const again = (await cut(server)).last('start')
    expect(encodeUp([again])).toEqual(encodeUp([first]))
    expect(again.input).toMatchObject({ a: 1.5, bytes: Uint8Array.of(1, 2), deep: { b: { y: 1 } } })
  })

  test('whose getter throws throws that error, and the client goes on', async () => {
    const { client, socket, server } = await openRun()
    const cause = new Error('not loaded')
    const lazy = {
      get prompt(): string {
        throw cause
      },
    }
    expect(() => client.start('chat', lazy)).toThrow(cause)
    await server.settle()
    expect(socket.said()).toEqual([])
    client.start('chat', { prompt: 'hi' })
    await server.settle()
    expect(socket.said()).toEqual(['start'])
    expect(client.status).toBe('open')
  })
})
