import { generateKeyPair, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { type Authenticate, bearer, type Credentials, jwt } from '../../../server/sessions/auth.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'

const key = new TextEncoder().encode('a secret of at least thirty-two bytes')

function token(claims: { sub?: string; exp?: number; aud?: string }, signedWith = key): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(signedWith)
}

const soon = (): number => Math.floor(Date.now() / 1000) + 60

describe('credentials', () => {
  test('may stand in HELLO or in the Authorization header, never in the URL', async () => {
    await using served = await testServer({ silent: silent() }, { authenticate: bearer({ secret: 'alice' }) })
    await using inHello = await served.client({ auth: 'secret' })
    await using inHeader = await served.client({ auth: null, headers: { authorization: 'Bearer secret' } })
    await inHello.settle()
    await inHeader.settle()
    await using refused = await served.client({ auth: null, hello: 'unanswered' })
    expect(await refused.closed).toBe(4401)
  })

  test.each([
    ['none', undefined],
    ['nil', null],
    ['the empty string', ''],
    ['a wrong token', 'wrong!'],
    ['the beginning of the right one', 'secre'],
    ['the right one and more', 'secret2'],
    ['the right one in other clothes', { token: 'secret' }],
    ['its bytes', new TextEncoder().encode('secret')],
  ])('that are %s are refused with the same words', async (_, auth) => {
    await using served = await testServer({ silent: silent() }, { authenticate: bearer({ secret: 'alice' }) })
    await using client = await served.client({ hello: false })
    client.send({ kind: 'hello', client: client.client, attempt: 1, ...(auth === undefined ? {} : { auth }) })
    expect(await client.next('notice')).toEqual({
      kind: 'notice',
      code: 'unauthenticated',
      message: 'the credentials were refused',
    })
    expect(await client.closed).toBe(4401)
  })

  test('in cookies are shown only for a page that may connect', async () => {
    const seen: Credentials[] = []
    const authenticate: Authenticate = (credentials) => {
      seen.push(credentials)
      return { id: 'alice' }
    }
    await using served = await testServer({ silent: silent() }, { authenticate, origins: ['https://app.example.com'] })
    const headers = { cookie: 'session=1', authorization: 'Bearer x' }
    await using page = await served.client({ headers: { ...headers, origin: 'https://app.example.com' } })
    await using tool = await served.client({ headers })
    await page.settle()
    await tool.settle()
    expect(seen.map((credentials) => credentials.headers.get('cookie'))).toEqual(['session=1', undefined])
    expect(seen.map((credentials) => credentials.headers.get('authorization'))).toEqual(['Bearer x', 'Bearer x'])
  })

  test('that can never match are refused when the server is made', () => {
    expect(() => bearer({})).toThrow('at least one token')
    expect(() => bearer({ '': 'alice' })).toThrow('empty token')
    expect(() => bearer({ [String(undefined)]: 'alice' })).toThrow('empty token')
    expect(() => bearer({ x: '' })).toThrow('invalid principal: `id`')
    expect(() => jwt({ key, algorithms: [] })).toThrow('algorithms')
    expect(() => jwt({ key, algorithms: ['none'] })).toThrow('algorithms')
  })

  test('a text in place of the tokens is refused: its letters are no tokens', () => {
    for (const tokens of ['secret', ['secret'], null, undefined, 5])
      expect(() => bearer(tokens as never), String(tokens)).toThrow('bearer() needs an object of tokens')
  })

  test('jwt refuses at once what would refuse every client later', () => {
    const refused: [options: unknown, message: string][] = [
      [undefined, 'jwt() needs an object of options'],
      [{ key }, 'needs the signature algorithms'],
      [{ key, algorithms: 'HS256' }, 'algorithms must be a list of strings'],
      [{ key, algorithms: ['HS256'], audiance: 'agents' }, 'did you mean audience?'],
      [{ algorithms: ['HS256'] }, 'needs a `key`: is its environment variable set?'],
      [{ key: '', algorithms: ['HS256'] }, 'needs a `key`'],
      [{ key: 'a secret of at least thirty-two bytes', algorithms: ['HS256'] }, 'new TextEncoder().encode(secret)'],
      [{ key: 5, algorithms: ['HS256'] }, 'must be bytes, a key, or a function'],
      // The secret of a missing environment variable: no bytes at all, with which anybody could sign.
      [{ key: new TextEncoder().encode(undefined), algorithms: ['HS256'] }, 'at least 32 bytes for HS256'],
      [{ key, algorithms: ['HS256', 'HS512'] }, 'at least 64 bytes for HS512'],
    ]
    for (const [options, message] of refused)
      expect(() => jwt(options as never), JSON.stringify(options)).toThrow(message)
  })
})

describe('a signed token', () => {
  const authenticate = jwt({ key, algorithms: ['HS256'] })

  test('names the principal', async () => {
    await using served = await testServer({ silent: silent() }, { authenticate })
    await using client = await served.client({ auth: await token({ sub: 'alice', exp: soon() }) })
    client.start(1, 'silent')
    const { run } = await client.next('opened')
    await using same = await served.client({ auth: await token({ sub: 'alice' }) })
    same.attach(1, run, 0)
    await same.next('opened')
    await using other = await served.client({ auth: await token({ sub: 'bob' }) })
    other.attach(1, run, 0)
    expect((await other.next('end')).data).toMatchObject({ code: 'not_found' })
  })

  const bad: Record<string, () => Promise<string>> = {
    'that has expired': () => token({ sub: 'alice', exp: soon() - 3_600 }),
    'signed with another key': () => token({ sub: 'alice' }, new TextEncoder().encode('b'.repeat(40))),
    'without a subject': () => token({}),
    'with an empty subject': () => token({ sub: '' }),
    'that is not signed': async () =>
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"alice"}').toString('base64url')}.`,
    'whose signature was taken off': async () => (await token({ sub: 'alice' })).replace(/\.[^.]*$/, '.'),
    'by another algorithm': async () => {
      const { privateKey } = await generateKeyPair('RS256')
      return await new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
    },
    'that is no token': async () => 'junk',
    'of three junk parts': async () => 'a.b.c',
    'whose claims are no map': async () =>
      (await token({ sub: 'alice' })).replace(/\.[^.]*\./, `.${Buffer.from('5').toString('base64url')}.`),
  }
  test.each(Object.keys(bad))('%s is refused', async (what) => {
    await using served = await testServer({ silent: silent() }, { authenticate })
    await using client = await served.client({ hello: 'unanswered', auth: (await bad[what]?.()) ?? '' })
    expect(await client.next('notice')).toMatchObject({ message: 'the credentials were refused' })
    expect(await client.closed).toBe(4401)
    expect(served.errors).toEqual([])
  })

  test('for another audience is refused', async () => {
    const ours = jwt({ key, algorithms: ['HS256'], audience: 'millrace' })
    await using served = await testServer({ silent: silent() }, { authenticate: ours })
    await using wrong = await served.client({ hello: 'unanswered', auth: await token({ sub: 'a', aud: 'other' }) })
    expect(await wrong.closed).toBe(4401)
    await using right = await served.client({ auth: await token({ sub: 'a', aud: 'millrace' }) })
    await right.settle()
  })

  test('that has expired already begins nothing, however it was answered', async () => {
    for (const expiresAt of [Date.now() - 1_000, Math.floor(Date.now() / 1_000)]) {
      let ran = 0
      const count = actor({ ask: () => ++ran })
      const authenticate = async () => ({ id: 'alice', expiresAt })
      await using served = await testServer({ count }, { authenticate })
      await using client = await served.client({ hello: 'unanswered' })
      client.start(1, 'count')
      expect(await client.closed).toBe(4401)
      expect(client.frames.map(({ kind }) => kind)).toEqual(['notice'])
      expect(ran).toBe(0)
    }
  })

  test('that expires closes its connection, not before, and its runs go on', async () => {
    const runtime = handClock()
    const expiresAt = runtime.wallClock() + 60_000
    await using served = await testServer(
      { silent: silent() },
      { runtime, limits: { heartbeatMs: 1_000_000 }, authenticate: () => ({ id: 'alice', expiresAt }) },
    )
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    runtime.advance(59_999)
    await client.settle()
    runtime.advance(1)
    expect(await client.next('notice')).toMatchObject({ code: 'unauthenticated' })
    expect(await client.closed).toBe(4401)
    expect(served.server.liveRuns).toBe(1)
  })

  test.each([40 * 86_400, 400 * 365 * 86_400, 2 ** 53])('good for another %i seconds is good now', async (seconds) => {
    await using served = await testServer({ silent: silent() }, { authenticate })
    await using client = await served.client({ auth: await token({ sub: 'alice', exp: soon() + seconds }) })
    await client.settle()
    // A timer that is set too far ahead fires after a millisecond.
    await new Promise((resolve) => setTimeout(resolve, 5))
    await client.settle()
  })
})
