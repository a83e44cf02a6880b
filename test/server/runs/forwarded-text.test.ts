import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/index.ts'
import { testServer } from '../../helpers/server.ts'

const words = actor({
  async *stream() {
    yield 'about mills '
    yield 'and rivers '
  },
})

/** Says something of its own around what a child says. */
const asking = actor({
  async *stream(_: unknown, context) {
    yield 'I ask. '
    yield* context.spawn(words, undefined)
    yield 'That was it.'
  },
})

describe('the text of a child that its parent passes on', () => {
  test('is not part of the answer of the parent, in the server', async () => {
    await using served = await testServer({ asking })
    const { router } = served.server
    expect(await router.ask('asking', undefined)).toBe('I ask. That was it.')
    const chunks: string[] = []
    const onChunk = (event: { type: string; text?: string }): void => void chunks.push(event.text ?? event.type)
    expect(await router.streamAsk('asking', 'stream', undefined, { onChunk })).toBe('I ask. That was it.')
    expect(chunks.join('')).toContain('about mills and rivers ')
  })

  test('is not part of the result that a grandparent gets of the parent', async () => {
    const grandparent = actor({
      async *stream(_: unknown, { spawn }) {
        const child = spawn(asking, undefined)
        yield* child
        yield `it said: ${await child.result}`
      },
    })
    await using served = await testServer({ grandparent })
    expect(await served.server.router.ask('grandparent', undefined)).toBe('it said: I ask. That was it.')
  })

  test('is the result of the child', async () => {
    const grandparent = actor({ ask: async (_: unknown, { spawn }) => spawn(words, undefined).result })
    await using served = await testServer({ grandparent })
    expect(await served.server.router.ask('grandparent', undefined)).toBe('about mills and rivers ')
  })

  test('is never joined with the text of the parent, for a reader that has the text merged', async () => {
    await using served = await testServer({ asking })
    await using client = await served.client()
    client.start(1, 'asking')
    const { run } = await client.next('opened')
    await client.next('end')
    client.attach(2, run, 0, { policy: 'merge' })
    await client.next('end', 2)
    const merged = client.frames.flatMap((frame) =>
      frame.kind === 'delta' && frame.sid === 2 ? [[frame.lane, frame.body]] : [],
    )
    expect(merged).toEqual([
      [0, 'I ask. '],
      [1, 'about mills and rivers '],
      [0, 'That was it.'],
    ])
  })
})
