import { createServer as createHttpServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, createRemoteJWKSet, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { jwt } from '../../../server/sessions/auth.ts'
import { eventually, type TestServer, testServer } from '../../helpers/server.ts'
import { counted, counter } from '../../helpers/test-actors.ts'

type Signer = { readonly privateKey: CryptoKey; readonly jwk: JWK }

async function signer(kid?: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), alg: 'ES256', ...(kid === undefined ? {} : { kid }) } }
}

function signedBy({ privateKey, jwk: { kid } }: Signer): Promise<string> {
  return new SignJWT({ sub: 'alice' })
    .setProtectedHeader({ alg: 'ES256', ...(kid === undefined ? {} : { kid }) })
    .sign(privateKey)
}

/** A real HTTP server of keys, whose answer can be changed. */
class KeyServer implements AsyncDisposable {
  answer: RequestListener
  readonly #http = createHttpServer((request, response) => this.answer(request, response))

  constructor(answer: RequestListener) {
    this.answer = answer
  }

  async listen(): Promise<URL> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve))
    return new URL(`http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/jwks.json`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#http.listening) return
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
  }
}

const keys =
  (...all: JWK[]): RequestListener =>
  (_, response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: all }))
const status =
  (code: number): RequestListener =>
  (_, response) =>
    void response.writeHead(code, { 'content-type': 'application/json' }).end('{"keys":[]}')
const body =
  (text: string): RequestListener =>
  (_, response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(text)

const down: Record<string, RequestListener> = {
  'answers 503': status(503),
  'answers 404': status(404),
  'answers with a redirect': (_, response) => void response.writeHead(302, { location: '/elsewhere' }).end(),
  'answers with a page': body('<html>We will be back soon</html>'),
  'answers with nothing': body(''),
  'answers with JSON that is no key set': body('{"error":"try later"}'),
  'cuts its answer': (_, response) => void response.writeHead(200, { 'content-length': '100' }).end('{"ke'),
  'hangs up': (request) => void request.socket.destroy(),
  'does not answer in time': () => {},
}

let good: Signer
let other: Signer
beforeAll(async () => {
  good = await signer('a')
  other = await signer('b')
})

let keyServer: KeyServer
let served: TestServer<{ count: ReturnType<typeof counter> }>
beforeEach(async () => {
  keyServer = new KeyServer(keys(good.jwk))
  // Every token asks for the keys again.
  const key = createRemoteJWKSet(await keyServer.listen(), {
    timeoutDuration: 200,
    cacheMaxAge: 0,
    cooldownDuration: 0,
  })
  served = await testServer({ count: counter() }, { authenticate: jwt({ key, algorithms: ['ES256'] }) })
})
afterEach(async () => {
  await served[Symbol.asyncDispose]()
  await keyServer[Symbol.asyncDispose]()
})

describe.each(Object.entries(down))('while the key server %s', (_, answer) => {
  test('a client is not refused: its connection closes with 1011, and the server reports why', async () => {
    keyServer.answer = answer
    await using client = await served.client({ auth: await signedBy(good), hello: 'unanswered' })
    expect(await client.closed).toBe(1011)
    expect(client.frames).toEqual([])
    expect(served.errors).toHaveLength(1)
  })

  test('a token that the last known keys verify lets a client in, and a forged one does not', async () => {
    await using before = await served.client({ auth: await signedBy(good) })
    await before.settle()
    keyServer.answer = answer
    await using client = await served.client({ auth: await signedBy(good) })
    await client.settle()
    const forged = await signedBy({ ...other, jwk: good.jwk })
    await using refused = await served.client({ auth: forged, hello: 'unanswered' })
    expect(await refused.closed).toBe(4401)
    expect(served.errors).toEqual([])
  })

  test('a token by a key that is not known yet is not refused', async () => {
    await using before = await served.client({ auth: await signedBy(good) })
    await before.settle()
    keyServer.answer = answer
    await using client = await served.client({ auth: await signedBy(other), hello: 'unanswered' })
    expect(await client.closed).toBe(1011)
  })
})

test('no key server at all closes a connection with 1011', async () => {
  await keyServer[Symbol.asyncDispose]()
  await using client = await served.client({ auth: await signedBy(good), hello: 'unanswered' })
  expect(await client.closed).toBe(1011)
})

test('a client stays until the key server is back, and its run is then whole', async () => {
  keyServer.answer = status(503)
  const statuses: string[] = []
  const client = createClient(served.url, {
    ...served.reach,
    token: await signedBy(good),
    onStatus: (now: string) => void statuses.push(now),
  })
  const run = client.start('count', 5)
  await eventually(() => served.errors.length > 0, 'the server asked for the keys')
  keyServer.answer = keys(good.jwk)
  expect(await run.result).toBe(counted(1, 5))
  expect(statuses).not.toContain('closed')
  await client.close()
})

describe('a token is refused with 4401 when the key server', () => {
  test('does not have its key', async () => {
    await using client = await served.client({ auth: await signedBy(other), hello: 'unanswered' })
    expect(await client.closed).toBe(4401)
    expect(served.errors).toEqual([])
  })

  test('no longer has its key', async () => {
    await using before = await served.client({ auth: await signedBy(good) })
    await before.settle()
    keyServer.answer = keys(other.jwk)
    await using client = await served.client({ auth: await signedBy(good), hello: 'unanswered' })
    expect(await client.closed).toBe(4401)
  })
})

test('a token that names no key is verified with each key that fits', async () => {
  const [first, second, stranger] = await Promise.all([signer(), signer(), signer()])
  keyServer.answer = keys(first.jwk, second.jwk)
  for (const one of [first, second]) {
    await using client = await served.client({ auth: await signedBy(one) })
    await client.settle()
  }
  await using refused = await served.client({ auth: await signedBy(stranger), hello: 'unanswered' })
  expect(await refused.closed).toBe(4401)
  keyServer.answer = status(503)
  await using client = await served.client({ auth: await signedBy(second) })
  await client.settle()
  expect(served.errors).toEqual([])
})
