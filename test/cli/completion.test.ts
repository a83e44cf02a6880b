import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Command, MILLRACE } from '../helpers/command.ts'

async function millrace(...args: string[]): Promise<string> {
  await using command = new Command(process.execPath, [MILLRACE, ...args])
  const { code, stdout, stderr } = await command.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** The commands that the help lists, each with the options that its help lists. */
let known: Map<string, string[]>
let folder: string
const scripts = new Map<string, string>()

beforeAll(async () => {
  const overview = await millrace('--help')
  const names = /Commands:\n([^]*?)\n\n/
    .exec(overview)![1]!
    .split('\n')
    .map((line) => line.trim().split(' ')[0]!)
  const helps = await Promise.all(
    names.map(async (name) => {
      const [, options = ''] = /Options:\n([^]*?)\n\n/.exec(await millrace(name, '--help'))!
      return [name, [...options.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, option = '']) => option)] as const
    }),
  )
  known = new Map(helps)
  for (const shell of ['bash', 'zsh', 'fish']) scripts.set(shell, await millrace('completion', shell))
  folder = mkdtempSync(join(tmpdir(), 'millrace-completion-'))
  writeFileSync(join(folder, 'completion.bash'), scripts.get('bash')!)
  writeFileSync(join(folder, 'an answer.millrace'), '')
  mkdirSync(join(folder, 'answers'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const program = `
    compopt() { :; } # works while a completion runs only, and changes how a name is shown
    source completion.bash
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _millrace
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const said = execFileSync('bash', ['--norc', '-c', program, 'bash', 'millrace', ...words], { cwd: folder })
  return said.toString().split('\n').filter(Boolean)
}

describe('bash', () => {
  test('offers every command that the help lists', () => {
    expect(known.size).toBeGreaterThan(14)
    expect(offered('').sort()).toEqual(['--help', '--version', 'help', ...known.keys()].sort())
    expect(offered('se')).toEqual(['serve', 'send'])
  })

  test('offers every option that the help of a command lists', () => {
    for (const [name, options] of known) expect(offered(name, '--'), name).toEqual(options)
    expect(offered('run', 'chat', 'Hello', '--str')).toEqual(['--stream'])
  })

  test('offers files and folders where an option or an argument takes them, and nothing where it takes a number', () => {
    expect(offered('replay', 'an').sort()).toEqual(['an answer.millrace', 'answers'])
    expect(offered('serve', '--config', 'an').sort()).toEqual(['an answer.millrace', 'answers'])
    expect(offered('record', 'r_1', '-o', 'an').sort()).toEqual(['an answer.millrace', 'answers'])
    expect(offered('serve', '--data', 'an')).toEqual(['answers'])
    expect(offered('serve', '--port', '')).toEqual([])
  })

  test('offers the words of an argument that takes one of a few', () => {
    expect(offered('data', '')).toEqual(['check', 'compact', 'export', 'delete'])
    expect(offered('completion', 'b')).toEqual(['bash'])
  })

  test('offers nothing for a command that it does not know', () => {
    expect(offered('wat', '')).toEqual([])
  })
})

test.each(['zsh', 'fish'])('the script for %s has every command with its options', (shell) => {
  const script = scripts.get(shell)!
  for (const [name, options] of known) {
    const lines =
      shell === 'fish'
        ? script.split('\n').filter((line) => line.includes(`__fish_seen_subcommand_from ${name}'`))
        : (new RegExp(`^    ${name}\\)\\n([^]*?) ;;$`, 'm').exec(script)?.[1]?.split('\n') ?? [])
    const found = lines.flatMap((line) => /(?:'\*?--|-l )([\w-]+)/.exec(line)?.[1] ?? [])
    expect(
      found.map((option) => `--${option}`),
      name,
    ).toEqual(options)
  }
})

test('a shell that is not known is named, with those that are', async () => {
  await using command = new Command(process.execPath, [MILLRACE, 'completion', 'cmd'])
  expect(await command.ended).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('unknown shell cmd; known shells: bash, zsh, fish'),
  })
})
