import type { LookupAddress } from 'node:dns'
import { describe, expect, test } from 'vitest'
import { Addresses, type Resolve } from '../../../server/notices/addresses.ts'

const PRIVATE = [
  ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '127.255.255.254', '169.254.169.254', '172.16.0.1'],
  ...['172.31.255.255', '192.0.0.1', '192.0.2.1', '192.168.1.1', '198.18.0.1', '203.0.113.9', '224.0.0.1'],
  ...['255.255.255.255', '::', '::1', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fd12:3456::1', 'ff02::1', '2001:db8::1'],
  ...['2002:7f00:1::', '::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:a00:1', '::ffff:169.254.169.254'],
  ...['64:ff9b::127.0.0.1', '64:ff9b::a9fe:a9fe', '::127.0.0.1', '::ffff:0:127.0.0.1', '64:ff9b:1::1', '100::1'],
]
const PUBLIC = ['1.1.1.1', '8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808']

describe('an address', () => {
  test.each(PRIVATE)('%s is not public, and refused', (address) => {
    expect(new Addresses([]).allows(address, false)).toBe(false)
  })

  test.each(PUBLIC)('%s is public, and allowed with TLS only', (address) => {
    const none = new Addresses([])
    expect([none.allows(address, false), none.allows(address, true)]).toEqual([true, false])
  })

  test.each(['', 'localhost', '127.1', '0x7f.1', '2130706433', '1.1.1.1.1', '1.1.1.1 ', ':::1'])(
    '%j is none, and refused',
    (address) => {
      expect(new Addresses(['0.0.0.0/0', '::/0']).allows(address, false)).toBe(false)
    },
  )

  test('that was named is allowed, in each form, with and without TLS', () => {
    const named = new Addresses(['10.1.0.0/16', '127.0.0.1', 'fd00::/8'])
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '127.0.0.1', 'fd00::7'])
      expect([address, named.allows(address, false), named.allows(address, true)]).toEqual([address, true, true])
    for (const address of ['10.2.0.1', '127.0.0.2', '::1', 'fe80::1'])
      expect([address, named.allows(address, false)]).toEqual([address, false])
  })

  test.each(['localhost', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/8/8', '::ffff:10.0.0.1', 7, null])(
    '%j cannot be named',
    (name) => {
      expect(() => new Addresses([name])).toThrow(/allowAddresses has addresses such as/)
    },
  )
})

describe('a name', () => {
  const found = (...all: string[]): Resolve => {
    const addresses = all.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 }))
    return (_hostname, _options, callback) => callback(null, addresses)
  }
  const looked = (resolve: Resolve, options: { all?: boolean; family?: number } = { all: true }, isPlain = false) =>
    new Promise((settle) => {
      new Addresses(['10.0.0.7']).lookup(isPlain, resolve)('hooks.example', options, (error, address, family) =>
        settle(error ? error.message : family === undefined ? address : [address, family]),
      )
    })

  test('leads to its public addresses, as the socket wants them', async () => {
    const resolve = found('1.1.1.1', '2606:4700::1111')
    expect(await looked(resolve)).toEqual([
      { address: '1.1.1.1', family: 4 },
      { address: '2606:4700::1111', family: 6 },
    ])
    expect(await looked(resolve, {})).toEqual(['1.1.1.1', 4])
    expect(await looked(resolve, { family: 6 })).toEqual(['2606:4700::1111', 6])
  })

  test.each([
    ['a private address', found('169.254.169.254')],
    ['a private address among public ones', found('1.1.1.1', '::ffff:127.0.0.1')],
    ['no address', found()],
  ])('that has %s is refused, and the message says what to do', async (_what, resolve) => {
    expect(await looked(resolve)).toMatch(/not public: name it in allowAddresses|has no address/)
  })

  test('leads over plain http only to what was named', async () => {
    expect(await looked(found('1.1.1.1'), {}, true)).toMatch(/was not named in allowAddresses: plain http/)
    expect(await looked(found('10.0.0.7'), {}, true)).toEqual(['10.0.0.7', 4])
  })

  test('that is not found stays not found', async () => {
    const fails: Resolve = (_hostname, _options, callback) => callback(new Error('ENOTFOUND'), [])
    expect(await looked(fails)).toBe('ENOTFOUND')
  })
})
