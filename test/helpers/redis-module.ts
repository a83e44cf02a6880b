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

/** What a call of a script waits for, if anything. It is given the name of the script. */
type Wait = (script: string) => Promise<unknown> | undefined

/** The package `redis` for a server that calls a script only once `before` has resolved. */
export async function withBefore(before: Wait): Promise<RedisModule> {
  return moduleWith((args, send) => {
    const held = waitOf(args, before)
    return held ? held.then(() => send(args)) : send(args)
  })
}

/** The package `redis` for a server that hears what a script gave only once `after` has resolved. */
export async function withAfter(after: Wait): Promise<RedisModule> {
  return moduleWith((args, send) => {
    const held = waitOf(args, after)
    const sent = send(args)
    return held ? held.then(() => sent) : sent
  })
}

function waitOf(args: readonly Argument[], wait: Wait): Promise<unknown> | undefined {
  const called = String(args[0]).startsWith('EVAL') ? String(args[1]) : undefined
  const found = Object.entries(SCRIPTS).find(([, { hash, text }]) => called === hash || called === text)
  return found && wait(found[0])
}

function hashOf(text: string): string {
  return createHash('sha1').update(text).digest('hex')
}
