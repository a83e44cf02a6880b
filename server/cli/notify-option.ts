import type { ServerOptions } from '../server-options.ts'
import type { Config } from './config-file.ts'
import { EXIT, Failure, messageOf } from './exit.ts'

/** The variable that has the secrets, apart by spaces. It is no option, which others on the machine could read. */
const SECRET = 'MILLRACE_NOTIFY_SECRET'

/** The options of a server that sends notices. */
export const notifyOptions: {
  readonly notify: { readonly type: 'string'; readonly value: string; readonly about: string }
  readonly 'notify-allow': {
    readonly type: 'string'
    readonly value: string
    readonly multiple: true
    readonly about: string
  }
} = {
  notify: {
    type: 'string',
    value: 'URL',
    about: `URL that is told when a run ends, needs somebody, or has used up its budget. ${SECRET} has the secret that signs. Default: none.`,
  },
  'notify-allow': {
    type: 'string',
    value: 'ADDRESS',
    multiple: true,
    about:
      'With --notify: address or network that is not public and may be told all the same, also over http, such as 127.0.0.1. Repeat it for several.',
  },
}

/**
 * Sends notices to what the options name.
 * @returns what the server prints: the host, because the path of a URL may be secret.
 */
export async function addNotify(
  options: ServerOptions<NonNullable<Config['actors']>>,
  { notify: url, 'notify-allow': allowed = [] }: { notify?: string; 'notify-allow'?: readonly string[] },
): Promise<string | undefined> {
  if (url === undefined) {
    if (allowed.length > 0) throw new Failure(EXIT.usage, '--notify-allow needs --notify: name the receiver')
    return undefined
  }
  if (options.notify) throw new Failure(EXIT.usage, 'the config file has its own notify: leave --notify out')
  const secret = (process.env[SECRET] ?? '').split(/\s+/).filter(Boolean)
  if (secret.length === 0)
    throw new Failure(EXIT.usage, `--notify needs ${SECRET}; make one with: echo "whsec_$(openssl rand -base64 32)"`)
  const { webhook } = await import('../notices/webhook.ts')
  try {
    const target = webhook({ url, secret, allowAddresses: allowed })
    options.notify = target
    return `notices go to ${target.host}`
  } catch (error) {
    const words = messageOf(error)
      .replace(/^webhook: /, '')
      .replace(/^secret\b/, SECRET)
      .replace('in allowAddresses', 'with --notify-allow')
      .replace(/^allowAddresses has/, '--notify-allow takes')
    throw new Failure(EXIT.usage, `--notify: ${words}`, error)
  }
}
