import { describe, expect, test } from 'vitest'
import type { Part } from '../../../server/index.ts'
import { servedAgent } from '../../helpers/agent-run.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'

const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

const image: Part = { type: 'image', mediaType: 'image/png', data: png }
const text: Part = { type: 'text', text: 'What is it?' }

describe('images and files in the input of an agent', () => {
  test('reach its model, as a prompt and in a conversation, with the bytes that were sent', async () => {
    const model = scriptedModel(says('a picture'))
    await using served = await servedAgent({ model })
    const content: Part[] = [text, image, { type: 'file', mediaType: 'text/plain', data: png, name: 'a.txt' }]
    await served.client.start('agent', { prompt: content }).result
    expect(model.asked[0]).toEqual([{ role: 'user', content }])
    await served.client.start('agent', { messages: [{ role: 'user', content }, ...model.asked[0]!] }).result
    expect(model.asked[1]).toEqual([
      { role: 'user', content },
      { role: 'user', content },
    ])
  })

  test.each<[string, unknown]>([
    ['by their address', [text, { type: 'image', url: 'http://169.254.169.254/' }]],
    ['without a type', [{ type: 'image', data: png }]],
    ['of no media type', [{ type: 'file', mediaType: 'png', data: png }]],
    ['that are text instead of bytes', [{ type: 'image', mediaType: 'image/png', data: '/etc/passwd' }]],
    ['with further members', [{ ...image, url: 'http://127.0.0.1/' }]],
    ['of another sort', [{ type: 'video', mediaType: 'video/mp4', data: png }]],
    ['in an empty list', []],
  ])('are refused %s', async (_, content) => {
    const model = scriptedModel(says('ok'))
    await using served = await servedAgent({ model })
    for (const input of [{ prompt: content }, { messages: [{ role: 'user', content }] }])
      await expect(served.client.start('agent', input as never).result).rejects.toMatchObject({ code: 'invalid_input' })
    expect(model.asked).toEqual([])
  })

  test.each(['system', 'assistant'])('are refused in a message of role %s', async (role) => {
    await using served = await servedAgent({ model: scriptedModel(says('ok')), allowSystem: true })
    const input = { messages: [{ role, content: [image] }] } as never
    await expect(served.client.start('agent', input).result).rejects.toMatchObject({ code: 'invalid_input' })
  })
})
