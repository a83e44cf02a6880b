import { z } from 'zod'
import { takesNothing } from './call.ts'
import type { Operation, Route } from './route.ts'
import { json } from './run-routes.ts'
import { PROBLEM } from './schemas.ts'
import { EVENT_STREAM } from './sse.ts'

/** The release of the API, which is that of the wire protocol: an incompatible change takes another. */
const API_VERSION = '1'
const DESCRIPTION =
  'Runs of agents over plain HTTP. HEAD is answered as GET is, without the body, at every path whose GET has no event stream.'

/** The route of the OpenAPI document, which describes all routes that have an operation. */
export function openApiRoute(routes: readonly Route[]): Route {
  // Made when somebody first asks for it, so that no server waits for it at its start.
  let document: object | undefined
  return {
    method: 'GET',
    path: '/openapi.json',
    access: 'anybody',
    handle: () => json((document ??= openApi(routes))),
  }
}

/** The OpenAPI 3.1 document of these routes, generated from the schemas that check requests. */
function openApi(routes: readonly Route[]): object {
  const paths: { [path: string]: { [method: string]: object } } = {}
  for (const { method, path, access, operation } of routes) {
    if (!operation) continue
    const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name!)
    const item = (paths[path.replace(/:(\w+)/g, '{$1}')] ??= {})
    item[method.toLowerCase()] = described(operation, names, access)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'millrace', version: API_VERSION, description: DESCRIPTION },
    paths,
    components: {
      schemas: { Problem: schemaOf(PROBLEM, 'output') },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        ticket: { type: 'apiKey', in: 'query', name: 'ticket' },
      },
    },
  }
}

function described(operation: Operation, names: readonly string[], access: Route['access']): object {
  const { summary, query, body, answers, streams } = operation
  const responses: { [status: string]: object } = {}
  for (const [status, answer] of Object.entries(answers)) {
    const content =
      typeof answer === 'string' ? undefined : { 'application/json': { schema: schemaOf(answer, 'output') } }
    responses[status] = { description: typeof answer === 'string' ? answer : 'The answer', ...(content && { content }) }
  }
  if (streams) {
    const { content, ...others } = (responses['200'] ?? { description: 'The events' }) as { content?: object }
    const events = { schema: { type: 'string', description: 'Server-sent events: see docs/http.md' } }
    responses['200'] = { ...others, content: { ...content, [EVENT_STREAM]: events } }
  }
  responses['default'] = {
    description: 'An error',
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  }
  const security =
    access === 'ticket'
      ? [{ bearer: [] }, { ticket: [] }]
      : access === 'anybody' || access === 'probe'
        ? []
        : [{ bearer: [] }]
  return {
    summary,
    security,
    parameters: [
      ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...(query ? queryParameters(query) : []),
    ],
    ...(body && {
      requestBody: {
        required: !takesNothing(body),
        content: { 'application/json': { schema: schemaOf(body, 'input') } },
      },
    }),
    responses,
  }
}

function queryParameters(query: z.ZodType): object[] {
  const { properties = {} } = schemaOf(query, 'input') as { properties?: { [name: string]: { description?: string } } }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    ...(description === undefined ? {} : { description }),
    schema,
  }))
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
