import { describe, expect, test } from 'vitest'
import { type Message, validConversation } from '../../../server/index.ts'

const user: Message = { role: 'user', content: 'go' }
const call = (id: string) => ({ call: id, name: 'add', args: {} })
const calling = (...ids: string[]): Message => ({ role: 'assistant', content: '', calls: ids.map(call) })
const answer = (id: string, content = '3'): Message => ({ role: 'tool', call: id, name: 'add', content })

describe('a conversation is made valid:', () => {
  test.each<[string, Message[], Message[]]>([
    [
      'a valid one stays as it is',
      [user, calling('a', 'b'), answer('a'), answer('b')],
      [user, calling('a', 'b'), answer('a'), answer('b')],
    ],
    [
      'missing answers are made up',
      [user, calling('a', 'b'), answer('b')],
      [user, calling('a', 'b'), answer('a', 'made up'), answer('b')],
    ],
    [
      'answers stand in the order of their calls',
      [calling('a', 'b'), answer('b', '2'), answer('a', '1')],
      [calling('a', 'b'), answer('a', '1'), answer('b', '2')],
    ],
    [
      'the first of two answers counts',
      [calling('a'), answer('a', '1'), answer('a', '2')],
      [calling('a'), answer('a', '1')],
    ],
    [
      'answers without a call are left out',
      [user, answer('a'), calling('b'), answer('b'), answer('x')],
      [user, calling('b'), answer('b')],
    ],
    [
      'the first of two calls of one id counts',
      [calling('a', 'b', 'a'), answer('a', '1'), answer('b', '2')],
      [calling('a', 'b'), answer('a', '1'), answer('b', '2')],
    ],
    ['a late answer does not count', [calling('a'), user, answer('a')], [calling('a'), answer('a', 'made up'), user]],
    [
      'arguments that are no object become one, and names what every provider accepts',
      [{ role: 'assistant', content: '', calls: [{ call: 'a', name: 'to day!', args: '{"x": "y' }] }, answer('a')],
      [
        { role: 'assistant', content: '', calls: [{ call: 'a', name: 'to_day_', args: {} }] },
        { role: 'tool', call: 'a', name: 'to_day_', content: '3' },
      ],
    ],
    ['messages that say nothing are left out', [user, { role: 'assistant', content: '', thinking: 'hm' }], [user]],
  ])('%s', (_, given, valid) => {
    expect(validConversation(given, 'made up')).toEqual(valid)
    expect(validConversation(valid, 'made up')).toEqual(valid)
  })
})
