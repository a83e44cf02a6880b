import { describe, expect, test } from 'vitest'
import { OutputSchema } from '../../../../server/tools/mcp/output-schema.ts'

const plain = (text: string): string => text
const checked = (schema: object, value: unknown): Promise<void> =>
  new OutputSchema({ type: 'object', ...schema }).check(value, plain)

describe('the output schema of a tool of an MCP server', () => {
  test('accepts what fits, and members that it does not name', async () => {
    const schema = { properties: { celsius: { type: 'number' } }, required: ['celsius'] }
    await expect(checked(schema, { celsius: 21, wind: 'calm' })).resolves.toBeUndefined()
  })

  test.each([
    [undefined, 'no structured content'],
    [{}, 'celsius'],
    [{ celsius: 'warm' }, 'celsius'],
  ])('refuses %j, and says what is wrong', async (value, words) => {
    const schema = { properties: { celsius: { type: 'number' } }, required: ['celsius'] }
    await expect(checked(schema, value)).rejects.toMatchObject({
      code: 'tool_failed',
      message: expect.stringContaining(words) as string,
    })
  })

  test('never runs an expression of the server, which could take for ever', async () => {
    const slow = '^(a+)+$'
    const value = { text: `${'a'.repeat(60)}!`, pattern: 'kept' }
    const properties = { text: { type: 'string', pattern: slow }, pattern: { type: 'number' } }
    await expect(checked({ properties, patternProperties: { [slow]: {} } }, value)).rejects.toMatchObject({
      message: expect.stringContaining('pattern') as string,
    })
    await expect(checked({ properties: { text: properties.text } }, value)).resolves.toBeUndefined()
  })

  test('says its words without the secrets of the configuration', async () => {
    const schema = new OutputSchema({ type: 'object', properties: { secret: { type: 'number' } } })
    const said = schema.check({ secret: 'x' }, (text) => text.replaceAll('secret', '[redacted]'))
    await expect(said).rejects.toMatchObject({ message: expect.not.stringContaining('secret') as string })
  })

  test('is refused when it is no schema', () => {
    expect(() => new OutputSchema({ type: 'object', required: 'all' })).toThrow()
  })
})
