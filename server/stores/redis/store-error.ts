import { MillraceError } from '../../../protocol/errors.ts'

/** Failures that no waiting heals: somebody has to change the installation. */
const LASTING =
  /^(MODULE_|WRONGPASS|NOAUTH|NOPERM|EVICTS|CLUSTER|SECRET|ERR |ERR_SSL|ERR_TLS|CERT_|UNABLE_TO_|.*SELF_SIGNED)/

/** The word with which Redis begins what it says of a failure. */
const WORD = /^[A-Z]+(?= )/

/** Turns a failure of the Redis at `place` into an error that says what to do. */
export function storeError(place: string, cause: unknown): MillraceError {
  const { code, message } = failureOf(cause)
  const error = new Error(`${code}: ${message}`)
  return new MillraceError('store_unavailable', wordsOf(place, code, message), {
    cause: error,
    retryable: !LASTING.test(`${code} `),
  })
}

/** The code of any thrown value: that of Node, or the first word of what Redis says. */
function failureOf(cause: unknown): { code: string; message: string } {
  if (!(cause instanceof Error)) return { code: 'UNKNOWN', message: String(cause) }
  // An address that has several IP addresses fails with all of their errors.
  const inner = cause instanceof AggregateError && cause.errors[0] instanceof Error ? cause.errors[0] : cause
  const message = inner.message || cause.message
  if ('code' in inner && typeof inner.code === 'string') return { code: inner.code, message }
  // What a script may not do is told in other words.
  if (message.includes("can't run this command")) return { code: 'NOPERM', message }
  if (message.includes('Script killed by user')) return { code: 'KILLED', message }
  if (message.includes('max number of clients reached')) return { code: 'MAXCLIENTS', message }
  // Before Redis 7, what fails in a script is told behind the place in the script.
  const said = message.replace(/^ERR Error running script .*@user_script: ?\d+: -?/, '')
  const [word = ''] = WORD.exec(said) ?? WORD.exec(message) ?? []
  return { code: word || inner.constructor.name, message }
}

function wordsOf(place: string, code: string, message: string): string {
  switch (code) {
    case 'MODULE_MISSING':
      return 'redis() needs the package redis: npm install redis'
    case 'MODULE_BROKEN':
      return `the package redis does not work on this machine: ${message}`
    case 'ECONNREFUSED':
      return `no Redis listens at ${place}: start it, or correct the address`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host of ${place} is not known: correct the address`
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return `the certificate of Redis at ${place} is not trusted: name the file of its authority in NODE_EXTRA_CA_CERTS`
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the certificate of Redis at ${place} is for another host: correct the address`
    case 'WRONGPASS':
      return `Redis at ${place} refuses the user or the password: correct them in the URL`
    case 'NOAUTH':
      return `Redis at ${place} wants a password: write it into the URL, redis://:PASSWORD@HOST`
    case 'NOPERM':
      return `the user of Redis at ${place} may not do that: ${message}`
    case 'EVICTS':
      return `Redis at ${place} has the maxmemory-policy ${message}, which removes runs: set it to noeviction`
    case 'CLUSTER':
      return `Redis at ${place} is a part of a cluster, which is not supported: name several Redis instead`
    case 'SECRET':
      return `another server keeps its runs in Redis at ${place} with another secret: give all of them the same`
    case 'OOM':
      return `Redis at ${place} is full: raise its maxmemory, or lower keepMs`
    case 'MAXCLIENTS':
      return `Redis at ${place} takes no more connections: raise its maxclients, or end what holds them`
    case 'KILLED':
      return `somebody has killed a script in Redis at ${place}: try again`
    case 'READONLY':
      return `Redis at ${place} is a replica, or becomes one: name its primary`
    case 'LOADING':
      return `Redis at ${place} is loading its data: try again later`
    case 'MISCONF':
      return `Redis at ${place} cannot write its disk: ${message}`
    case 'DEADLINE':
      return `Redis at ${place} ${message}`
    case 'CLOSED':
      return `the store of ${place} is not open`
    default:
      return `Redis at ${place} failed: ${message}`
  }
}

/** A reason of our own why Redis cannot be used. */
export class RedisRefusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}
