import { MillraceError } from '../../../protocol/errors.ts'
import type { ProviderOptions } from './attempts.ts'
import type { ProviderWords } from './refusal.ts'

/** The options that say where a provider is and who asks. */
export type EndpointOptions = Pick<ProviderOptions, 'headers' | 'env'> & {
  apiKey?: string | undefined
  baseURL?: string | undefined
}

/** A provider that is asked with a key, in the words of its settings. */
export type KeyedProvider = {
  /** The name of the provider, such as `openai`. */
  readonly provider: string
  /** A model's name for the messages, such as `gpt-5-mini`. */
  readonly example: string
  /** The variables that may have the key, the most usual one first. */
  readonly keys: readonly [usual: string, ...others: string[]]
  /** The variable that may have the address. */
  readonly address: string
  /** An address of a server on this machine, as its form is. */
  readonly exampleAddress: string
  /** The provider's own address. */
  readonly url: string
  /** The host of the provider, whose subdomains count too. */
  readonly host: string
  /** The headers in which the key may come instead. */
  readonly keyHeaders: readonly string[]
}

/** Where a model is asked, and with what. */
export type Endpoint = {
  /** Undefined: the server needs none. */
  readonly apiKey: string | undefined
  readonly baseURL: string
  /** It is a server of the provider itself. */
  readonly own: boolean
  /** It is the server to which the variables of the environment belong. */
  readonly usual: boolean
  /** Advice for a key that the server refused. */
  readonly advice: string
  /** Where the address was set, in the words of a message. */
  readonly addressName: string
}

/**
 * Finds the address and the key of a model, before anything is sent.
 * @throws MillraceError `bad_request` that names the setting that is missing or wrong. It never repeats a value.
 */
export function endpointOf(name: string, options: EndpointOptions, keyed: KeyedProvider): Endpoint {
  const { provider, example, host } = keyed
  const { env = process.env } = options
  // Without types, it may be missing.
  if (typeof (name as unknown) !== 'string' || name.trim() === '')
    throw new MillraceError('bad_request', `${provider} needs the name of a model, such as ${provider}:${example}`)
  const fromEnv = (env[keyed.address] ?? '').trim()
  const given = (options.baseURL ?? '').trim()
  const addressName = given === '' ? keyed.address : '`baseURL`'
  const address = given || fromEnv || keyed.url
  const url = addressOf(address, addressName, keyed.exampleAddress)
  const own = url.hostname === host || url.hostname.endsWith(`.${host}`)
  // The key of the environment belongs to the server of the environment: another one must not get it by accident.
  const usual = given === '' || own || (URL.canParse(fromEnv) && new URL(fromEnv).origin === url.origin)
  const keyVariable = keyed.keys.find((key) => (env[key] ?? '').trim() !== '') ?? keyed.keys[0]
  const apiKey = (options.apiKey ?? (usual ? env[keyVariable] : undefined) ?? '').trim()
  if (apiKey === '' && own && !hasAny(options.headers, keyed.keyHeaders)) {
    throw new MillraceError(
      'bad_request',
      `${provider}:${name} needs a key: set ${keyed.keys.join(' or ')}, or ${keyed.address} for a compatible server that needs none`,
    )
  }
  const keyName = options.apiKey === undefined ? keyVariable : '`apiKey`'
  if (/[^\x21-\x7e]/.test(apiKey))
    throw new MillraceError('bad_request', `${keyName} has characters that no key has: copy it again`)
  const advice =
    apiKey !== '' || usual ? `check ${keyName}` : `pass \`apiKey\`; ${keyVariable} is not sent to another \`baseURL\``
  return { apiKey: apiKey === '' ? undefined : apiKey, baseURL: address, own, usual, advice, addressName }
}

/** The words for what goes wrong at an endpoint. */
export function endpointWords(model: string, { apiKey, advice, addressName }: Endpoint): ProviderWords {
  return {
    model,
    missing: 'check the name, and whether this key may use it',
    key: advice,
    ...(apiKey !== undefined && { secrets: [apiKey] }),
    unreachable: `check ${addressName} and the network`,
  }
}

/** @param where where it was set. */
function addressOf(text: string, where: string, example: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol))
    throw new MillraceError('bad_request', `${where} must be an address such as ${example}`)
  if (url.username !== '' || url.password !== '')
    throw new MillraceError('bad_request', `${where} must not contain a password: pass it in \`headers\``)
  return url
}

function hasAny(headers: ProviderOptions['headers'], names: readonly string[]): boolean {
  return Object.keys(headers ?? {}).some((name) => names.includes(name.toLowerCase()))
}

/**
 * Some packages add the headers in a variable of the environment to all requests. They belong to the server of the
 * environment, and may have a key.
 * @param apiKey the key that is sent in their place, if they had one.
 */
export function withoutCustomHeaders(send: typeof fetch, variable: string, apiKey: string | undefined): typeof fetch {
  const lines = (process.env[variable] ?? '').split('\n')
  const names = lines.filter((line) => line.includes(':')).map((line) => line.slice(0, line.indexOf(':')).trim())
  if (names.length === 0) return send
  return (input, init) => {
    const headers = new Headers(init?.headers)
    for (const name of names) headers.delete(name)
    if (apiKey !== undefined) headers.set('authorization', `Bearer ${apiKey}`)
    return send(input, { ...init, headers })
  }
}
