import { expect, test } from 'vitest'
import type { Client } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { createConversationStore } from '../../react/conversation-store.ts'
import { agent, conversation, demo } from '../../server/index.ts'
import { HandFrames } from '../helpers/hand-frames.ts'
import { eventually, testServer } from '../helpers/server.ts'

const chat = conversation({ agent: agent({ model: demo({ tokensPerSec: 2_000 }) }) })

/** A component that shows a conversation, without React. */
function shown(client: object, id: string) {
  const frames = new HandFrames()
  const store = createConversationStore(client as Client, id, {}, frames.next)
  const states: ReturnType<typeof store.getSnapshot>[] = []
  let leave: (() => void) | undefined
  const mount = (): void => {
    leave ??= store.subscribe(() => void states.push(store.getSnapshot()))
  }
  mount()
  return {
    frames,
    states,
    mount,
    unmount() {
      leave?.()
      leave = undefined
    },
    get now() {
      return store.getSnapshot()
    },
  }
}

test('a conversation is shown frame by frame in two pages, and is the same in both', async () => {
  await using server = await testServer({ chat })
  const clients = [1, 2].map(() => createClient(server.url, { token: 'alice' }))
  const [one, two] = clients.map((client) => shown(client, 'c1'))
  expect(one!.now).toMatchObject({ status: 'loading', messages: [] })
  const sent = one!.now.send('Tell me about pages')
  await one!.frames.until(() => one!.now.messages.length === 1, 'what was sent is shown')
  await one!.frames.until(() => one!.now.status === 'ready' && one!.now.messages.length === 2, 'it is answered')
  await sent
  await two!.frames.until(() => two!.now.messages.at(-1)?.status === 'sent', 'it is there too')
  const texts = [one!, two!].map((page) => page.now.messages.map(({ text }) => text))
  expect(texts[0]).toEqual(texts[1])
  expect(texts[0]![1]).toContain('Tell me about pages')
  // Many tokens, few renderings, and nothing that was shown changes or comes back.
  const answers = one!.states.map(({ messages }) => messages[1]?.text ?? '')
  for (const [at, text] of answers.entries()) expect(text.startsWith(answers[at - 1] ?? '')).toBe(true)
  for (const client of clients) await client.close()
})

test('a page that draws nothing holds the answer back, unmounting leaves it, and stop cancels it', async () => {
  await using server = await testServer({ chat })
  const client = createClient(server.url, { token: 'alice' })
  const page = shown(client, 'c2')
  void page.now.send('Tell me about stops')
  await page.frames.until(() => (page.now.messages[1]?.text.length ?? 0) > 20, 'it is answered')
  page.unmount()
  await eventually(() => server.server.liveRuns <= 1, 'only the answer goes on')
  page.mount()
  await page.frames.until(() => (page.now.messages[1]?.text.length ?? 0) > 40, 'it is read on')
  const stopped = page.now.stop()
  await page.frames.until(() => page.now.status === 'ready', 'it is stopped')
  await stopped
  expect(['cancelled', 'sent']).toContain(page.now.messages[1]?.status)
  await client.close()
})
