import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Command, type CommandOptions, root } from './helpers/command.ts'

function example(name: string, options: CommandOptions = {}): Command {
  return new Command(process.execPath, ['--import', 'tsx', `examples/${name}`], options)
}

test('the client types what the server of the first screen says, and Ctrl-C stops it with a receipt', async () => {
  await using server = example('server.ts', { env: { PORT: '0' } })
  const [, url = ''] = await server.said('stdout', /listening on (\S+)/)
  await using client = example('client.ts', { env: { URL: url } })
  await client.said('stdout', /millrace.* .* /)
  client.kill('SIGINT')
  const { code, stdout, stderr } = await client.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const part of ["outcome: 'cancelled'", 'settled: true', "provider: 'closed'"]) expect(stdout).toContain(part)
})

test.each(['server.ts', 'client.ts'])('the first screen of the README shows examples/%s as it is', (name) => {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  expect(readme).toContain(`\`\`\`ts\n// examples/${name}\n${readFileSync(`${root}examples/${name}`, 'utf8')}\`\`\`\n`)
})
