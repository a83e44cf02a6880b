import { createHash } from 'node:crypto'
import { type Argument, loadRedis, type RedisModule } from '../../server/stores/redis/client.ts'
import { SCRIPTS } from '../../server/stores/redis/scripts.ts'

type Send = (args: readonly Argument[]) => ReturnType<ReturnType<RedisModule['createClient']>['sendCommand']>

/** The package `redis`, whose clients send their commands by `through`. */
async function moduleWith(through: (args: readonly Argument[], send: Send) => ReturnType<Send>): Promise<RedisModule> {
  const module = await loadRedis()
  return {
    ...module,
    createClient(options) {
      const client = module.createClient(options)
      const send = client.sendCommand.bind(client)
      return Object.assign(client, { sendCommand: (args: readonly Argument[]) => through(args, send) })
    },
  }
}

/**
 * The package `redis` for a server of another release, which speaks to the same Redis.
 * @param first With what each of its scripts begins. Redis knows them by other hashes.
 */
export async function otherRelease(first: string): Promise<RedisModule> {
  const textOf = (text: string): string => `${first}\n${text}`
  const hashes = new Map(Object.values(SCRIPTS).map(({ hash, text }) => [hash, hashOf(textOf(text))]))
  return moduleWith((args, send) => {
    const [command, what, ...rest] = args
    if (command === 'EVALSHA') return send([command, hashes.get(String(what)) ?? hashOf(String(what)), ...rest])
    if (command === 'EVAL') return send([command, textOf(String(what)), ...rest])
    if (command === 'SCRIPT' && what === 'LOAD') return send([command, what, textOf(String(rest[0]))])
    return send(args)
  })
}

/** The package `redis` for a server that calls a script only once `before`, which is given its name, has resolved. */
export async function withBefore(before: (script: string) => Promise<unknown> | undefined): Promise<RedisModule> {
  const names = new Map(
    Object.entries(SCRIPTS).flatMap(([name, { hash, text }]) => [[hash, name] as const, [text, name] as const]),
  )
  return moduleWith((args, send) => {
    const name = String(args[0]).startsWith('EVAL') ? names.get(String(args[1])) : undefined
    const held = name === undefined ? undefined : before(name)
    return held ? held.then(() => send(args)) : send(args)
  })
}

function hashOf(text: string): string {
  return createHash('sha1').update(text).digest('hex')
}
