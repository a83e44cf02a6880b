#!/usr/bin/env node
import { commandLine } from './command-line.ts'
import { EXIT, messageOf, placeOf } from './exit.ts'
import { Output } from './output.ts'

const output = new Output()

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    output.fail(`internal error: ${messageOf(error)}${placeOf(error)}`)
    process.exit(EXIT.failed)
  })
}

const code = await commandLine(process.argv.slice(2), output)
output.quiet()
await output.written()
// An actor that ignores its signal may still run: it must not keep the process alive.
process.exit(code)
