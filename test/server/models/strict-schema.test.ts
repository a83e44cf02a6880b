import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { strictSchema } from '../../../server/models/strict-schema.ts'

const schemaOf = (schema: z.ZodType): unknown => z.toJSONSchema(schema, { io: 'input' })

describe("a schema in the form of OpenAI's strict mode", () => {
  test('closes every object, and leaves out keywords that the mode refuses', () => {
    const schema = z.object({
      name: z.string().min(1).max(9),
      list: z.array(z.object({ n: z.int().min(0).max(9) })).max(3),
      one: z.discriminatedUnion('type', [z.object({ type: z.literal('a') }), z.object({ type: z.literal('b') })]),
      maybe: z.string().nullable(),
    })
    const closed = (properties: object) => ({
      type: 'object',
      properties,
      required: Object.keys(properties),
      additionalProperties: false,
    })
    expect(strictSchema(schemaOf(schema))).toEqual(
      closed({
        name: { type: 'string' },
        list: {
          type: 'array',
          maxItems: 3,
          items: closed({ n: { type: 'integer', minimum: 0, maximum: 9 } }),
        },
        one: {
          anyOf: [closed({ type: { type: 'string', const: 'a' } }), closed({ type: { type: 'string', const: 'b' } })],
        },
        maybe: { type: ['string', 'null'] },
      }),
    )
  })

  test('names shared parts as before', () => {
    const schema = {
      type: 'object',
      properties: { left: { $ref: '#/$defs/leaf' } },
      required: ['left'],
      $defs: { leaf: { type: 'object', properties: {}, minProperties: 1 } },
    }
    expect(strictSchema(schema)).toMatchObject({
      $defs: { leaf: { type: 'object', properties: {}, additionalProperties: false } },
    })
  })

  test.each([
    ['a member that may be missing', z.object({ a: z.string().optional() })],
    ['one deep below', z.object({ a: z.array(z.object({ b: z.number().optional() })) })],
    ['members of any name', z.object({ a: z.record(z.string(), z.number()) })],
    ['a tuple', z.object({ a: z.tuple([z.string()]) })],
  ])('does not exist for %s', (_, schema) => {
    expect(strictSchema(schemaOf(schema))).toBeUndefined()
  })
})
