import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { signedHeaders } from '../../../server/notices/signature.ts'
import { verifyNotice } from '../../../server/notices/verify-notice.ts'

const secretOf = (bytes: Buffer): string => `whsec_${bytes.toString('base64')}`
const [key, other] = [randomBytes(32), randomBytes(32)]
const secret = secretOf(key)
const notice = { version: 1, type: 'run.ended', timestamp: '2026-01-01T00:00:00.000Z', data: { run: 'r_1' } }
const body = JSON.stringify(notice)
const headers = (at = Date.now(), keys = [key]) => signedHeaders('ntc_1', at, Buffer.from(body), keys)

describe('a notice is verified', () => {
  test('with the signature of the specification: HMAC-SHA256 over id, time and body', () => {
    // The example of the specification of Standard Webhooks.
    const signed = signedHeaders(
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330_000,
      Buffer.from('{"test": 2432232314}'),
      [Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')],
    )
    expect(signed).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })

  test('from text or bytes, with the headers of Node or of fetch', () => {
    for (const bytes of [body, Buffer.from(body), new TextEncoder().encode(body)])
      for (const given of [headers(), new Headers(headers())])
        expect(verifyNotice(bytes, given, { secret })).toEqual({ id: 'ntc_1', notice })
  })

  test('with any of the secrets, and any of the signatures, while a secret changes', () => {
    expect(verifyNotice(body, headers(), { secret: [secretOf(other), secret] }).id).toBe('ntc_1')
    expect(verifyNotice(body, headers(Date.now(), [other, key]), { secret }).id).toBe('ntc_1')
  })
})

describe('a request is refused', () => {
  const signed = headers()
  const cases: [string, string, Record<string, string | undefined>, RegExp][] = [
    ['of another secret', body, headers(Date.now(), [other]), /no signature/],
    ['with a changed body', `${body} `, signed, /no signature/],
    ['with the id of another', body, { ...signed, 'webhook-id': 'ntc_2' }, /no signature/],
    [
      'with a changed time',
      body,
      { ...signed, 'webhook-timestamp': String(Math.floor(Date.now() / 1_000) + 9) },
      /no sig/,
    ],
    ['that is six minutes old', body, headers(Date.now() - 360_000), /too old/],
    ['of six minutes ahead', body, headers(Date.now() + 360_000), /too old/],
    ['without an id', body, { ...signed, 'webhook-id': undefined }, /webhook-id is missing/],
    ['without a time', body, { ...signed, 'webhook-timestamp': undefined }, /webhook-timestamp is missing/],
    ['with a time that is none', body, { ...signed, 'webhook-timestamp': '1e9' }, /is no time/],
    ['without a signature', body, { ...signed, 'webhook-signature': undefined }, /webhook-signature is missing/],
    ['with an empty signature', body, { ...signed, 'webhook-signature': 'v1,' }, /no signature/],
    [
      'of another version',
      body,
      { ...signed, 'webhook-signature': signed['webhook-signature']!.replace('v1', 'v2') },
      /no/,
    ],
    [
      'with ten thousand signatures',
      body,
      { ...signed, 'webhook-signature': 'v1,AAAA '.repeat(10_000) },
      /no signature/,
    ],
  ]
  test.each(cases)('%s', (_what, given, with_, words) => {
    expect(() => verifyNotice(given, with_, { secret })).toThrow(words)
    expect(() => verifyNotice(given, with_, { secret })).toThrow(expect.objectContaining({ code: 'unauthenticated' }))
  })

  test.each(['[]', 'null', '{"type":1,"data":{}}', '{"type":"a"}', '{'])(
    'that is signed and is no notice: %s',
    (text) => {
      const with_ = signedHeaders('ntc_1', Date.now(), Buffer.from(text), [key])
      expect(() => verifyNotice(text, with_, { secret })).toThrow('the body is no notice')
    },
  )

  test.each(['', 'secret', 'whsec_', 'whsec_c2hvcnQ=', `whsec_${'A'.repeat(200)}`, [], 7, undefined])(
    'with a secret that is none, which no message shows: %j',
    (wrong) => {
      const verify = (): unknown => verifyNotice(body, headers(), { secret: wrong as string })
      expect(verify).toThrow(/secret must be/)
      expect(verify).not.toThrow(/c2hvcnQ|AAAAA/)
    },
  )

  test.each([Number.NaN, -1])('with a tolerance that is none: %s', (toleranceMs) => {
    const verify = (): unknown => verifyNotice(body, headers(0), { secret, toleranceMs })
    expect(verify).toThrow(`toleranceMs must be 0 or more, not ${toleranceMs}`)
  })
})
