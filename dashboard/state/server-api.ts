/** An actor that one may start. */
export type ActorFacts = {
  readonly name: string
  readonly description?: string
  /** Whether it keeps conversations. */
  readonly conversations: boolean
  readonly boxes: readonly Box[]
}

/** A step of an actor, with those inside it. */
export type Box = {
  readonly name: string
  readonly note: string
  readonly look: 'code' | 'agent' | 'wait' | 'group'
  readonly columns: readonly { readonly label?: string; readonly boxes: readonly Box[] }[]
}

/** What one may do with a run. */
export type Allowed = { readonly [action in 'cancel' | 'approve' | 'input' | 'govern']: boolean }

/** A question of a run that nobody has answered. */
export type OpenRequest = {
  /** Its id. */
  readonly request: string
  readonly kind: string
  readonly prompt?: string | undefined
  readonly schema?: unknown
  /** The tool call that needs an approval. */
  readonly call?: string | undefined
  /** The sub-agent that asks. */
  readonly agent?: string | undefined
}

/** An answer to a request for approval. */
export type Decision = { readonly ok: boolean; readonly note?: string; readonly remember?: boolean }

/** What the page cannot know of a run by reading it. */
export type RunDetails = { readonly own: boolean; readonly may: Allowed; readonly pending: readonly OpenRequest[] }

/** The part of the server that is for this page: facts that its protocol does not have. */
export interface ServerApi {
  actors(): Promise<readonly ActorFacts[]>
  /** Undefined for a run that is not known, or that one may not read. */
  run(id: string): Promise<RunDetails | undefined>
}

/**
 * @param base the address of the page, without its query.
 * @param token undefined: the browser has other credentials, or the server needs none.
 */
export function serverApi(base: string, token: string | undefined): ServerApi {
  const read = async (path: string): Promise<unknown> => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await fetch(new URL(path, base), { headers })
    if (response.status === 404) return undefined
    if (!response.ok) throw new Error(`the server answered with ${response.status}`)
    return await response.json()
  }
  return {
    actors: async () =>
      ((await read('dashboard/actors')) as { actors: readonly ActorFacts[] } | undefined)?.actors ?? [],
    run: async (id) => (await read(`dashboard/runs/${encodeURIComponent(id)}`)) as RunDetails | undefined,
  }
}
