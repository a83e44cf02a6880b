import { describe, expect, test } from 'vitest'
import { partialObject } from '../../client-sdk/index.ts'

describe('the object that the beginning of a JSON text holds', () => {
  test.each<[string, unknown]>([
    ['', undefined],
    ['Here it is: ', undefined],
    ['{', {}],
    ['{"ci', {}],
    ['{"city"', {}],
    ['{"city":', {}],
    ['{"city": "', { city: '' }],
    ['{"city": "Os', { city: 'Os' }],
    ['{"city": "Oslo", "te', { city: 'Oslo' }],
    ['{"city": "Oslo", "temp": 1', { city: 'Oslo' }],
    ['{"city": "Oslo", "temp": 12,', { city: 'Oslo', temp: 12 }],
    ['{"a": tru', {}],
    ['{"a": true', {}],
    ['{"a": true, "b": nul', { a: true }],
    ['{"a": [1, 2', { a: [1] }],
    ['{"a": [{"b": "x', { a: [{ b: 'x' }] }],
    ['{"a": [[], {}, ["', { a: [[], {}, ['']] }],
    ['{"a": "1\\', { a: '1' }],
    ['{"a": "1\\u00', { a: '1' }],
    ['{"a": "1\\u00e9\\n', { a: '1é\n' }],
    ['{"a": "quoted \\"', { a: 'quoted "' }],
    ['{ "a" : -1.5e3 } and more }', { a: -1500 }],
    ['```json\n{"a": 1}\n```', { a: 1 }],
    ['{"__proto__": {"x": 1}}', JSON.parse('{"__proto__": {"x": 1}}')],
    ['{"a" 1}', undefined],
    ['{a: 1}', undefined],
    ['{"a": 1 2}', undefined],
    ['{"a": wrong}', undefined],
    [`{"a": ${'['.repeat(100_000)}`, undefined],
  ])('of %j', (text, holds) => {
    expect(partialObject(text)).toEqual(holds)
  })

  test('only ever grows, and is in the end what JSON.parse makes of it', () => {
    const whole = {
      name: 'Zoë "Z" \\ \n',
      list: [1, -2.5e-3, true, null, { deep: [''] }],
      empty: {},
      last: false,
    }
    const text = JSON.stringify(whole, null, 1)
    let size = 0
    for (let length = 1; length < text.length; length++) {
      const partial = JSON.stringify(partialObject(text.slice(0, length)))
      expect(partial.length).toBeGreaterThanOrEqual(size)
      size = partial.length
    }
    expect(partialObject(text)).toEqual(whole)
  })

  test('has a long text within a moment', () => {
    const long = 'x\\n'.repeat(500_000)
    expect(partialObject<{ a: string }>(`{"a":"${long}`)?.a).toHaveLength(1_000_000)
  })
})
