import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { createClient, upload } from '../../../client-sdk/node.ts'
import { agent, type Logger, uploads } from '../../../server/index.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'
import { stderrOf } from '../../helpers/stderr.ts'

const BYTES = 'canary-bytes-3f9c\n'
const NAME = 'canary-name-77ab'

test('the bytes and the name of a file are in no log, no error and nothing printed, whatever is refused', async () => {
  const seen: unknown[] = []
  const refusals: unknown[] = []
  const write = (...record: unknown[]): void => void seen.push(record)
  const logger: Logger = { debug: write, info: write, warn: write, error: write }
  const file = (type: string, length = 1): File => new File([BYTES.repeat(length)], `${NAME}.txt`, { type })
  const printed = await stderrOf(async () => {
    const files = uploads({ types: ['text/*', 'image/*'], maxBytes: 1_000 })
    const chat = agent({ model: scriptedModel(says('seen')), files: { uploads: files } })
    await using server = await testServer({ uploads: files, chat }, { logger, onError: write })
    const alice = createClient<{ uploads: typeof files; chat: typeof chat }>(server.url, { token: 'alice' })
    const bob = createClient<{ uploads: typeof files; chat: typeof chat }>(server.url, { token: 'bob' })
    const refused = (doing: Promise<unknown>): Promise<void> =>
      doing.then(
        () => expect.unreachable('it is refused'),
        (error: unknown) => void refusals.push(error),
      )
    // The bytes are not of the type, the type is not allowed, the file is too large.
    await refused(upload(alice, file('image/png')))
    await refused(upload(alice, file('application/zip')))
    await refused(upload(alice, file('text/plain', 100)))
    const made = await upload(alice, file('text/plain'))
    const part = { type: 'file', upload: made.upload } as const
    await refused(bob.ask('chat', { prompt: [part] }))
    await refused(alice.ask('chat', { prompt: [{ type: 'image', upload: made.upload } as never] }))
    // Bytes in the message itself that are not of their type, and a part that is none.
    const data = new TextEncoder().encode(BYTES)
    await refused(alice.ask('chat', { prompt: [{ type: 'image', mediaType: 'image/png', data }] }))
    await refused(alice.ask('chat', { prompt: [{ type: 'file', name: NAME, mediaType: BYTES } as never] }))
    expect(await alice.ask('chat', { prompt: [part] })).toBe('seen')
    await Promise.all([alice.close(), bob.close()])
  })
  expect(refusals).toHaveLength(7)
  expect(seen.length).toBeGreaterThan(0)
  expect(printed + inspect([seen, refusals], { depth: 20 })).not.toMatch(/canary/)
})
