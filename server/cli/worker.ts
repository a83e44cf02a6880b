import { DEFAULT_SLOTS } from '../server-options.ts'
import { loadConfig } from './config-file.ts'
import { EXIT, type ExitCode, Failure } from './exit.ts'
import { MODEL_NAMES } from './model-option.ts'
import { addNotify, notifyOptions } from './notify-option.ts'
import type { Output } from './output.ts'
import { addStore, placeOf, placeWords } from './serve-additions.ts'
import { commonOptions, create, DEFAULT_DRAIN_S, drained, modelWords } from './server-process.ts'
import { type Command, readArgs, readNumber } from './usage.ts'
import { version } from './version.ts'

const usage = {
  name: 'worker',
  about:
    'Executes runs of a pool, which servers have as remote actors. It has no port. Ctrl-C, SIGTERM or a closed terminal drains it; a second Ctrl-C quits at once.',
  args: [],
  options: {
    pool: { type: 'string', value: 'NAME', about: 'Pool from which it takes runs.' },
    slots: { type: 'string', value: 'COUNT', about: `Runs that it executes at a time. Default ${DEFAULT_SLOTS}.` },
    config: {
      type: 'string',
      value: 'FILE',
      about: 'Module whose default export has options of createServer: the actors, and perhaps the store.',
    },
    redis: {
      type: 'string',
      value: 'URL',
      multiple: true,
      about:
        'Redis that it shares with the servers; needs the package redis. Repeat it for several. Default: MILLRACE_REDIS, several with spaces between them.',
    },
    model: {
      type: 'string',
      value: 'MODEL',
      about: `Model of the agents, one of ${MODEL_NAMES}. Default: MILLRACE_MODEL, else demo.`,
    },
    durability: {
      type: 'string',
      value: 'MODE',
      about: 'eager sends to clients at once, logged once it is stored. Default eager.',
    },
    ...notifyOptions,
    drain: {
      type: 'string',
      value: 'SECONDS',
      about: 'Time limit for runs to end when the worker drains. Default 10.',
    },
    verbose: { type: 'boolean', about: 'Also print runs. Default: only warnings and errors.' },
  },
  examples: ['millrace worker --pool gpu --config ./agents.mjs --redis redis://127.0.0.1:6379'],
} as const

/** `millrace worker` */
export const worker: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values } = readArgs(usage, args)
    const { pool } = values
    if (pool === undefined) throw new Failure(EXIT.usage, 'millrace worker needs --pool: the pool of the remote actors')
    const slots = readNumber('--slots', values.slots ?? String(DEFAULT_SLOTS), { min: 1, max: 100_000 })
    const drainS = readNumber('--drain', values.drain ?? String(DEFAULT_DRAIN_S), { min: 0, max: 86_400 })
    const config = values.config === undefined ? {} : await loadConfig(values.config)
    const options = await commonOptions(values, config, () => undefined, output)
    const place = placeOf(values, config)
    await addStore(options, place, values.durability)
    if (!options.store)
      throw new Failure(EXIT.usage, 'millrace worker needs --redis, MILLRACE_REDIS or a store in the config file')
    const notified = await addNotify(options, values)
    const server = create(options, values.config)
    await server.work({ pool, slots })
    const { actors, defaultModel } = options
    await output.answer(
      [
        `millrace ${version()} works for the pool ${pool}`,
        '',
        `  actors  ${Object.keys(actors).join(', ')}`,
        `  model   ${modelWords(defaultModel)}`,
        `  slots   ${slots}`,
        ...(place ? [`  data    ${placeWords(place)}`] : []),
        ...(notified === undefined ? [] : [`  notify  ${notified}`]),
        '',
        'Ctrl-C drains this worker.',
        '',
      ].join('\n'),
    )
    await drained(server, drainS, output)
    return EXIT.ok
  },
}
