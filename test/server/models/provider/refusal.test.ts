import { describe, expect, test } from 'vitest'
import { explain, Refusal, retryAfterMs } from '../../../../server/models/provider/refusal.ts'

describe('the time a provider asks for', () => {
  test.each([
    [{ 'retry-after': '2' }, 2_000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after': '2', 'retry-after-ms': '150' }, 150],
    [{ 'retry-after': '-1' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ])('is read from %j', (headers, ms) => {
    expect(retryAfterMs(new Headers(headers))).toBe(ms)
  })

  test('may be a date, unless it is over', () => {
    const inAMinute = new Headers({ 'retry-after': new Date(Date.now() + 60_000).toUTCString() })
    expect(retryAfterMs(inAMinute)).toBeGreaterThan(50_000)
    expect(retryAfterMs(inAMinute)).toBeLessThanOrEqual(60_000)
    expect(retryAfterMs(new Headers({ 'retry-after': new Date(0).toUTCString() }))).toBeUndefined()
  })
})

describe('a refusal as an operator sees it', () => {
  test.each([
    ['Incorrect API key provided: sk-proj-********abcd.', 'Incorrect API key provided: [redacted]'],
    ['{"auth":"Bearer abc.def"}', '{"auth":"[redacted]"}'],
    ['at https://me:pass@host/v1', 'at https://[redacted]host/v1'],
    ['key AIzaSyA1234567890abc failed', 'key [redacted] failed'],
    [`token ${'a1'.repeat(30)}`, 'token [redacted]'],
    ['the key swordfish is wrong', 'the key [redacted] is wrong'],
    [
      "Invalid schema for function 'get_weather': missing properties",
      "Invalid schema for function 'get_weather': missing properties",
    ],
    ['', undefined],
  ])('has no key in it: %j', (text, body) => {
    const refusal = new Refusal(400, text)
    refusal.hide(['swordfish'])
    expect(refusal.body).toBe(body)
  })
})

describe('a failure of the network', () => {
  const words = { model: 'm', missing: 'get it', key: 'check it', unreachable: 'start it' }

  function failed(...codes: string[]): Error {
    return codes.reduceRight<Error | undefined>(
      (cause, code) => Object.assign(new Error('fetch failed at http://secret', { cause }), code && { code }),
      undefined,
    )!
  }

  test.each([
    [['', 'ECONNREFUSED'], 'the provider cannot be reached: start it', true],
    [['', 'ENOTFOUND'], 'the provider cannot be reached: start it', true],
    [['', 'UND_ERR_CONNECT_TIMEOUT'], 'the provider cannot be reached: start it', true],
    [['', '', 'UND_ERR_HEADERS_TIMEOUT'], 'the provider did not answer in time: try again later', true],
    [['', 'UND_ERR_BODY_TIMEOUT'], 'the provider did not answer in time: try again later', true],
    [['', 'UND_ERR_SOCKET'], 'the connection to the provider was lost: try again later', true],
    [['', 'HPE_INVALID_CONSTANT'], 'the connection to the provider was lost: try again later', true],
    [[''], "the provider's answer could not be read: check that its address serves this API", false],
  ])('with the codes %j says: %s', (codes, message, retryable) => {
    const thrown = failed(...codes)
    expect(explain(thrown, words)).toMatchObject({ code: 'provider_error', message, retryable, cause: thrown })
  })

  test('on each of several addresses is one failure', () => {
    const thrown = new TypeError('fetch failed', { cause: new AggregateError([failed('ECONNREFUSED')]) })
    expect(explain(thrown, words).message).toBe('the provider cannot be reached: start it')
  })
})
