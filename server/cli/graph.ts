import { writeFile } from 'node:fs/promises'
import type { Actor } from '../actors/actor.ts'
import { boxesOf } from '../workflows/graph.ts'
import { loadConfig } from './config-file.ts'
import { demoActors } from './demo-actors.ts'
import { EXIT, type ExitCode, Failure, messageOf } from './exit.ts'
import { svgOf } from './graph-svg.ts'
import type { Output } from './output.ts'
import { type Command, readArgs } from './usage.ts'

const usage = {
  name: 'graph',
  about: 'Draws the steps of a workflow or of a team as an SVG picture.',
  notes: ['It needs no running server: it reads the actors from the config file.'],
  args: ['<actor>'],
  options: {
    config: {
      type: 'string',
      value: 'FILE',
      about: 'Module whose default export has options of createServer, such as { actors }. Default: the demo actors.',
    },
    out: { type: 'string', value: 'FILE', about: 'Writes the picture to a file. Default: stdout.' },
  },
  examples: ['millrace graph team > team.svg', 'millrace graph article --config ./actors.mjs --out article.svg'],
} as const

/** `millrace graph` */
export const graph: Command = {
  usage,
  async run(args: string[], output: Output): Promise<ExitCode> {
    const { values, positionals } = readArgs(usage, args)
    const [name = ''] = positionals
    const { actors = demoActors } = values.config === undefined ? {} : await loadConfig(values.config)
    const actor = Object.hasOwn(actors, name) ? (actors as { readonly [name: string]: Actor })[name] : undefined
    if (!actor) {
      const known = Object.keys(actors).join(', ')
      throw new Failure(EXIT.usage, `unknown actor ${name}; known actors: ${known}`)
    }
    const svg = svgOf(name, boxesOf(name, actor))
    if (values.out === undefined) await output.answer(svg)
    else
      await writeFile(values.out, svg).catch((error: unknown) => {
        throw new Failure(EXIT.usage, `${values.out} cannot be written: ${messageOf(error)}`, error)
      })
    return EXIT.ok
  },
}
