import { expect, test } from 'vitest'
import { actor, createServer, remote } from '../../server/index.ts'
import { redis } from '../../server/stores/redis/redis.ts'

const authenticate = (): undefined => undefined
const store = () => redis({ url: 'redis://127.0.0.1:9' })

test.each([
  [() => remote('', { pool: 'gpu' }), /needs the name/],
  [() => remote('a', {} as never), /pool must be 1 to 64 letters/],
  [() => remote('a', { pool: 'a pool' }), /pool must be 1 to 64 letters/],
  [() => remote('a', { pool: 'gpu', waitMs: 0 }), /waitMs must be a whole number from 1 to 86400000, not 0/],
  [() => remote('a', { pool: 'gpu', maxWaiting: 1.5 }), /maxWaiting must be a whole number/],
  [() => remote('a', { pools: 'gpu' } as never), /pools/],
])('a remote actor is refused that cannot be: %s', (make, message) => {
  expect(make).toThrow(
    expect.objectContaining({ code: 'bad_request', message: expect.stringMatching(message) }) as Error,
  )
})

test('a server with a remote actor needs a store that servers share', () => {
  expect(() => createServer({ actors: { a: remote('a', { pool: 'gpu' }) }, authenticate })).toThrow(
    'actors.a is remote: it needs a store that servers share',
  )
})

test('a worker needs a store that servers share, a pool, and slots; and works for one pool', async () => {
  const actors = { a: actor({ ask: () => 1 }) }
  await using alone = createServer({ actors, authenticate })
  await expect(alone.work({ pool: 'gpu' })).rejects.toMatchObject({
    code: 'bad_request',
    message: expect.stringContaining('a store that servers share') as string,
  })
  await using shared = createServer({ actors, authenticate, store: store() })
  await expect(shared.work({ pool: 'a pool' })).rejects.toMatchObject({ code: 'bad_request' })
  await expect(shared.work({ pool: 'gpu', slots: 0 })).rejects.toMatchObject({ code: 'bad_request' })
  const works = shared.work({ pool: 'gpu' })
  await expect(shared.work({ pool: 'gpu' })).rejects.toMatchObject({
    message: expect.stringContaining('already') as string,
  })
  await expect(works).rejects.toMatchObject({ code: 'store_unavailable' })
})
