import type { z } from 'zod'
import type { MillraceError } from '../../protocol/errors.ts'
import type { Call, Params } from './call.ts'
import { HttpError } from './problem.ts'

/** What a route takes and answers, for the OpenAPI document. */
export type Operation = {
  /** One sentence. */
  readonly summary: string
  readonly query?: z.ZodType | undefined
  readonly body?: z.ZodType | undefined
  /** The answers that are no errors, by status. A text is the description of an answer without a schema. */
  readonly answers: { readonly [status: number]: z.ZodType | string }
  /** It can answer with server-sent events. */
  readonly streams?: boolean
}

/** One method of one path. */
export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** The path, with `:name` for a segment of any content: `/runs/:run/events`. */
  readonly path: string
  /**
   * Who may send it. `principal`: a client with credentials. `ticket`: also one with a ticket for the `:run` or the
   * `:actor` of the path. `anybody`. `probe`: anybody, also while the server has as many connections as it may, because
   * whoever probes it would end it for that. Default `principal`.
   */
  readonly access?: 'principal' | 'ticket' | 'anybody' | 'probe'
  /** false: HEAD is not answered, because GET starts or follows a stream. Default: as GET, without its body. */
  readonly head?: false
  /** A header that names the client instance where `Millrace-Client` does not: that of a foreign protocol. */
  readonly instanceHeader?: string
  /** The form of errors at every path that begins with the first segment of this one. Default: problems of RFC 9457. */
  readonly errors?: ErrorForm
  /** Undefined: the OpenAPI document does not list it. */
  readonly operation?: Operation
  /** Answers the request. What it throws is answered as an error. */
  handle(call: Call): Response | Promise<Response>
}

/** Writes an error in the form that the clients of a foreign protocol know. */
export type ErrorForm = (error: MillraceError) => Response

type Node = {
  readonly fixed: Map<string, Node>
  any: Node | undefined
  readonly routes: { readonly route: Route; readonly names: readonly string[] }[]
}

/** The routes of a surface, found by method and path. Segments are compared as they are, after percent-decoding. */
export class RouteTable {
  readonly #root: Node = newNode()
  /** By the first segment of a path. */
  readonly #forms = new Map<string, ErrorForm>()
  /** Methods and paths that the OpenAPI document does not list, by the first segment. */
  readonly #unlisted = new Map<string, string[]>()

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#add(route)
  }

  /** Whether a path is one of these routes, with any method. */
  has(path: string): boolean {
    return this.#find(path) !== undefined
  }

  /** Whether a path, without its query, is for probes. */
  isProbe(path: string): boolean {
    return this.#find(path)?.node.routes.some(({ route }) => route.access === 'probe') ?? false
  }

  /** The form of errors at a path, which need not be one of these routes. */
  errorsAt(path: string): ErrorForm | undefined {
    return this.#forms.get(firstSegment(path))
  }

  /** The methods that a path has. */
  methods(path: string): string[] {
    return this.#find(path)?.node.routes.flatMap(({ route }) => methodsOf(route)) ?? []
  }

  /** @throws HttpError 404 for an unknown path, 405 for an unknown method of it. */
  match(method: string, path: string): { route: Route; params: Params } {
    const found = this.#find(path)
    if (!found) throw new HttpError(404, 'not_found', `there is nothing at this path; ${this.#near(path)}`)
    const match = found.node.routes.find(({ route }) => methodsOf(route).includes(method))
    if (!match) {
      const allow = this.methods(path).join(', ')
      throw new HttpError(405, 'bad_request', `this path takes only ${allow}`, { allow })
    }
    return { route: match.route, params: Object.fromEntries(match.names.map((name, i) => [name, found.values[i]!])) }
  }

  /** What there is, for who meant something else. */
  #near(path: string): string {
    const first = firstSegment(path)
    const unlisted = this.#unlisted.get(first)
    return unlisted ? `below /${first} there is ${unlisted.join(', ')}` : '/openapi.json lists the paths of runs'
  }

  #add(route: Route): void {
    const first = firstSegment(route.path)
    if (route.errors) this.#forms.set(first, route.errors)
    if (!route.operation) {
      const said = `${route.method} ${route.path}`
      this.#unlisted.set(first, [...(this.#unlisted.get(first) ?? []), said])
    }
    let node = this.#root
    const names: string[] = []
    for (const segment of route.path.slice(1).split('/')) {
      if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        node = node.any ??= newNode()
      } else {
        const next = node.fixed.get(segment) ?? newNode()
        node.fixed.set(segment, next)
        node = next
      }
    }
    node.routes.push({ route, names })
  }

  #find(path: string): { node: Node; values: string[] } | undefined {
    let node = this.#root
    const values: string[] = []
    for (const segment of path.slice(1).split('/')) {
      const text = decoded(segment)
      const fixed = text === undefined ? undefined : node.fixed.get(text)
      if (fixed) node = fixed
      else if (node.any && text !== undefined && text !== '') {
        node = node.any
        values.push(text)
      } else return undefined
    }
    return node.routes.length > 0 ? { node, values } : undefined
  }
}

function firstSegment(path: string): string {
  return path.split('/', 2)[1] ?? ''
}

function methodsOf({ method, head }: Route): string[] {
  return method === 'GET' && head !== false ? [method, 'HEAD'] : [method]
}

function newNode(): Node {
  return { fixed: new Map(), any: undefined, routes: [] }
}

/** A segment without percent-encoding. Undefined for one that cannot be decoded. */
function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
