/** Where Node keeps the dispatcher of its `fetch`, also one that the application has set, such as a proxy. */
const DISPATCHER = Symbol.for('undici.globalDispatcher.1')

type Dispatcher = NonNullable<RequestInit['dispatcher']>

/** Sends requests through the dispatcher of the process, without time limits. */
const patient = {
  dispatch: (options: object, handler: object) =>
    dispatcher()?.dispatch({ ...options, headersTimeout: 0, bodyTimeout: 0 } as never, handler),
} as unknown as Dispatcher

/**
 * The `fetch` of Node without its limits of 300 s for the headers and for a silent body: `ProviderTimeouts` take their
 * place. Where Node has no such dispatcher, its own limits apply too.
 */
export async function patientFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  return fetch(input, dispatcher() ? { ...init, dispatcher: patient } : init)
}

function dispatcher(): Dispatcher | undefined {
  // Node loads its `fetch`, and with it the dispatcher, when one of its classes is looked at.
  if (typeof Headers === 'undefined') return undefined
  return (globalThis as { [DISPATCHER]?: Dispatcher })[DISPATCHER]
}
