import { describe, expect, test } from 'vitest'
import { type ClientFiles, type ClientPart, type Message, type Part, uploads } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { says, scriptedModel } from '../../helpers/scripted-model.ts'

const latin = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))
const PNG = latin('\x89PNG\r\n\x1a\n and more')

const text: Part = { type: 'text', text: 'What is it?' }
const image: Part = { type: 'image', mediaType: 'image/png', data: PNG }
const notes: Part = { type: 'file', mediaType: 'text/plain', data: latin('one'), name: 'a.txt' }
const url = (address: string): Part => ({ type: 'image', url: address })

/** The beginning of each type of the default list. */
const BEGINNINGS: [type: string, bytes: Uint8Array][] = [
  ['image/png', PNG],
  ['image/jpeg', latin('\xff\xd8\xff\xe0 and more')],
  ['image/gif', latin('GIF89a and more')],
  ['image/webp', latin('RIFF\x10\x00\x00\x00WEBPVP8 ')],
  ['application/pdf', latin('junk of a mail program\n%PDF-1.7')],
  ['application/json', latin('{}')],
  ['text/markdown', latin('# one')],
  ['text/csv', latin('a,b')],
]

/** How an agent with these rules takes a prompt: the parts that its model gets, or the error of the run. */
async function taken(content: readonly ClientPart[], files?: ClientFiles | false): Promise<unknown> {
  const model = scriptedModel(says('ok'))
  await using served = await servedAgent({ model, ...(files !== undefined && { files }) })
  try {
    await served.client.start('agent', { prompt: content }).result
  } catch (error: unknown) {
    expect(model.asked).toEqual([])
    return error
  }
  return (model.asked[0]?.[0] as Extract<Message, { role: 'user' }>).content
}

const refused = (message: string): object =>
  expect.objectContaining({ code: 'invalid_input', message: expect.stringContaining(message) }) as object

describe('images and files in the input of an agent', () => {
  test('reach its model, as a prompt and in a conversation, with the bytes that were sent', async () => {
    const model = scriptedModel(says('a picture'))
    await using served = await servedAgent({ model })
    const message: Message = { role: 'user', content: [text, image, notes] }
    await served.client.start('agent', { prompt: message.content }).result
    await served.client.start('agent', { messages: [message, message] }).result
    expect(model.asked).toEqual([[message], [message, message]])
  })

  test.each(BEGINNINGS)('may be of the type %s, if the bytes are', async (mediaType, data) => {
    const part: Part = mediaType.startsWith('image/')
      ? { type: 'image', mediaType, data }
      : { type: 'file', mediaType, data }
    expect(await taken([part])).toEqual([part])
    expect(await taken([{ ...part, data: latin('\xff\xfe\x00 something else') }])).toEqual(refused(mediaType))
  })

  test('are images for the model when their type is that of an image', async () => {
    const file: Part = { type: 'file', mediaType: 'IMAGE/PNG', data: PNG, name: 'a.png' }
    expect(await taken([file])).toEqual([{ type: 'image', mediaType: 'IMAGE/PNG', data: PNG }])
  })

  test.each<[string, unknown]>([
    ['without a type', { type: 'image', data: PNG }],
    ['of no media type', { type: 'file', mediaType: 'png', data: PNG }],
    ['of a type with a line break', { type: 'file', mediaType: 'text/plain;a=b\r\nx: y', data: latin('a') }],
    ['that are text instead of bytes', { type: 'image', mediaType: 'image/png', data: '/etc/passwd' }],
    ['with further members', { ...image, url: 'https://example.com/' }],
    ['of another sort', { type: 'video', mediaType: 'video/mp4', data: PNG }],
    ['of a type that is not on the list', { type: 'file', mediaType: 'application/zip', data: latin('PK') }],
    ['of a type that a browser runs', { type: 'image', mediaType: 'image/svg+xml', data: latin('<svg/>') }],
    ['as an image that is no image', { type: 'image', mediaType: 'text/plain', data: latin('a') }],
    ['as an upload, where the agent has none', { type: 'image', upload: 'u_1' }],
  ])('are refused %s', async (_, part) => {
    expect(await taken([text, part as Part])).toMatchObject({ code: 'invalid_input' })
  })

  test('are refused in an empty list, and in a message of another role', async () => {
    expect(await taken([])).toMatchObject({ code: 'invalid_input' })
    await using served = await servedAgent({ model: scriptedModel(says('ok')), allowSystem: true })
    for (const role of ['system', 'assistant']) {
      const input = { messages: [{ role, content: [image] }] } as never
      await expect(served.client.start('agent', input).result).rejects.toMatchObject({ code: 'invalid_input' })
    }
  })

  test('are refused beyond the limits of the agent, which count the whole conversation', async () => {
    const model = scriptedModel(says('ok'))
    await using served = await servedAgent({ model, files: { maxParts: 2, maxBytes: 20 } })
    const ask = (...contents: Part[][]): Promise<unknown> =>
      served.client.start('agent', { messages: contents.map((content) => ({ role: 'user', content })) }).result
    await ask([image, notes])
    await ask([text, text], [notes], [notes])
    await expect(ask([image], [image])).rejects.toEqual(refused('at most 20 bytes'))
    await expect(ask([notes, notes], [notes])).rejects.toEqual(refused('at most 2 images and files'))
  })

  test('are refused by an agent that takes none, and text in parts is not', async () => {
    expect(await taken([text], false)).toEqual([text])
    expect(await taken([notes], false)).toEqual(refused('takes no images and no files'))
  })

  test('may be of other types, if the agent says so', async () => {
    const svg: Part = { type: 'image', mediaType: 'image/svg+xml', data: latin('<svg/>') }
    expect(await taken([svg], { types: ['image/*'] })).toEqual([svg])
    expect(await taken([notes], { types: ['image/*'] })).toEqual(refused('text/plain is not accepted'))
  })
})

describe('the address of an image in the input of an agent', () => {
  const anywhere = { urls: true } as const
  const one = { urls: ['https://images.example.com'] }

  test.each([
    'https://images.example.com/a.png',
    'http://169.254.169.254/latest/meta-data/',
    'file:///etc/passwd',
    'data:image/png;base64,AAAA',
  ])('is refused unless the agent allows it: %s', async (address) => {
    expect(await taken([url(address)])).toEqual(refused('takes no image by this address'))
  })

  test.each([
    'http://images.example.com/a.png',
    'file:///etc/passwd',
    'data:image/png;base64,AAAA',
    'https://',
    '',
    '/a',
  ])('must be of https: %j is refused by every agent', async (address) => {
    expect(await taken([url(address)], anywhere)).toEqual(refused('takes no image by this address'))
  })

  test('may be of any host, or of the origins that the agent names', async () => {
    const image = url('https://images.example.com/a.png?b=c')
    expect(await taken([image], anywhere)).toEqual([image])
    expect(await taken([image], one)).toEqual([image])
    for (const other of [
      'https://images.example.com.evil.example/a',
      'https://images.example.com:8443/a',
      'https://evil.example/https://images.example.com/',
      'https://images.example.com@evil.example/',
    ])
      expect(await taken([url(other)], one)).toEqual(refused('takes no image by this address'))
  })

  test('reaches the provider as it was checked, so that no other parser reads another host in it', async () => {
    expect(await taken([url('https:\\\\images.example.com\\a.png')], one)).toEqual([
      url('https://images.example.com/a.png'),
    ])
    expect(await taken([url('https://me:secret@images.example.com/')], one)).toEqual(
      refused('must not have a password'),
    )
  })
})

describe('images and files in a message to a run', () => {
  test('reach the model with its next turn; a message with others is a warning, and the run goes on', async () => {
    let go = (): void => {}
    const open = new Promise<void>((resolve) => {
      go = resolve
    })
    const model = scriptedModel(async function* () {
      await open
      yield* says('first')
    }, says('second'))
    await using served = await servedAgent({ model, files: { maxParts: 2 } })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('iteration')
    await watched.run.send('message', [text, image])
    await watched.run.send('message', [{ ...image, data: latin('GIF89a') }])
    await watched.run.send('message', [{ type: 'image', upload: 7 }])
    await watched.run.send('message', [{ type: 'note', text: 'only data' }])
    go()
    expect(await watched.over).toBeUndefined()
    expect(model.asked[1]?.slice(2)).toEqual([
      { role: 'user', content: [text, image] },
      { role: 'user', content: '[{"type":"note","text":"only data"}]' },
    ])
    expect(watched.all('warning').map(({ code, message }) => [code, message])).toEqual([
      ['input_ignored', 'a message was left out: the bytes are not of the type image/png'],
      [
        'input_ignored',
        expect.stringMatching(/^a message was left out: a part is \{ type: "text", text \}, or of type/),
      ],
    ])
  })
})

describe('the option `files` of an agent', () => {
  test.each<[string, unknown, string]>([
    ['a type that is none', { types: ['png'] }, 'types: "png"'],
    ['a type in capitals, which would never match', { types: ['image/PNG'] }, 'types: "image/PNG"'],
    ['every type', { types: ['*/*'] }, 'types: "*/*"'],
    ['a limit that is none', { maxBytes: -1 }, 'files.maxBytes'],
    ['an origin without https', { urls: ['http://example.com'] }, 'files.urls'],
    ['an address as an origin', { urls: ['https://example.com/'] }, 'files.urls'],
    ['an option that it does not have', { maxByte: 1 }, 'did you mean maxBytes?'],
    ['something else', 'images', 'files must be'],
  ])('refuses %s', async (_, files, says) => {
    await expect(servedAgent({ files: files as never })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining(says),
    })
  })
})

describe('an upload in the input of an agent', () => {
  test('that nobody made is not_found, and the model is not asked', async () => {
    const model = scriptedModel(says('ok'))
    await using served = await servedAgent({ model, files: { uploads: uploads() } })
    const run = served.client.start('agent', { prompt: [{ type: 'image', upload: 'u_1' }] })
    await expect(run.result).rejects.toMatchObject({ code: 'not_found' })
    expect(model.asked).toEqual([])
  })
})
