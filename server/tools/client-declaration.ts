import { z } from 'zod'

const MAX_TOOLS = 32
const MAX_ID_CHARACTERS = 64
const MAX_DESCRIPTION_CHARACTERS = 4_096
const MAX_SCHEMA_BYTES = 16_384
/** The most issues that the refusal of a declaration names. */
const MAX_ISSUES = 5

/** A tool as a client declares it. */
export type DeclaredTool = { readonly description: string; readonly parameters: unknown }

/** The tools that one client declares. */
export type ClientDeclaration = {
  /** The name that the client gave itself. The event of a call says it. */
  readonly id: string
  readonly tools: ReadonlyMap<string, DeclaredTool>
}

const schemaOfArguments = z
  .looseObject({ type: z.literal('object') })
  .refine((schema) => Buffer.byteLength(JSON.stringify(schema)) <= MAX_SCHEMA_BYTES, {
    message: `a schema has at most ${MAX_SCHEMA_BYTES} bytes`,
  })

const declaration = z.object({
  id: z.string().min(1).max(MAX_ID_CHARACTERS),
  tools: z
    .array(
      z.object({
        name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
        description: z.string().max(MAX_DESCRIPTION_CHARACTERS),
        parameters: schemaOfArguments,
      }),
    )
    .max(MAX_TOOLS),
})

/**
 * Reads the data of an input of type `tools`. Returns what is wrong with it, if anything.
 * @param reserved names that no client may take.
 */
export function declarationIn(data: unknown, reserved: readonly string[]): ClientDeclaration | string {
  const { success, data: read, error } = declaration.safeParse(data)
  if (!success)
    return `invalid tools: ${error.issues
      .slice(0, MAX_ISSUES)
      .map(({ path, message }) => [...path, message].join(': '))
      .join('; ')}`
  const taken = read.tools.find(({ name }) => reserved.includes(name))
  if (taken) return `the agent has a tool ${taken.name} of its own: choose another name`
  return { id: read.id, tools: new Map(read.tools.map(({ name, ...rest }) => [name, rest])) }
}
