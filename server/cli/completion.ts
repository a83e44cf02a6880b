import { EXIT, type ExitCode, Failure } from './exit.ts'
import type { Output } from './output.ts'
import { type Command, type OptionUsage, readArgs, type Usage } from './usage.ts'

/** A script of each shell that completes commands, their options and what these take. */
const SCRIPTS: Readonly<Record<string, (usages: readonly Usage[]) => string>> = { bash, zsh, fish }

const usage = {
  name: 'completion',
  about: 'Prints a script that completes commands and options in a shell.',
  notes: ['It completes the command millrace, as it is in the PATH. The script for bash needs bash 4 or later.'],
  args: ['<shell>'],
  choices: Object.keys(SCRIPTS),
  options: {},
  examples: [
    'source <(millrace completion bash)',
    'millrace completion zsh > ~/.zfunc/_millrace',
    'millrace completion fish > ~/.config/fish/completions/millrace.fish',
  ],
} as const

/** `millrace completion`, of the commands that `load` resolves with. */
export function completion(load: () => Promise<readonly Command[]>): Command {
  return {
    usage,
    async run(args: string[], output: Output): Promise<ExitCode> {
      const { positionals } = readArgs(usage, args)
      const [shell = ''] = positionals
      const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined
      if (!script) throw new Failure(EXIT.usage, `unknown shell ${shell}; known shells: ${usage.choices.join(', ')}`)
      await output.answer(script((await load()).map((command) => command.usage)))
      return EXIT.ok
    },
  }
}

const HELP: readonly [string, OptionUsage] = ['help', { type: 'boolean', about: 'Prints this help.' }]

function optionsOf({ options }: Usage): (readonly [string, OptionUsage])[] {
  return [...Object.entries(options), HELP]
}

/** What the value of an option, or an argument as the help shows it, is: a file, a folder, or something that no shell knows. */
function kindOf(value: string): 'file' | 'folder' | 'other' {
  if (/^FILE$|^[<[]file[>\]]$/.test(value)) return 'file'
  return value === 'DIR' ? 'folder' : 'other'
}

function bash(usages: readonly Usage[]): string {
  /** The options of all commands whose value is of this kind, as patterns of a case. */
  const taking = (kind: ReturnType<typeof kindOf>): string =>
    usages
      .flatMap((usage) =>
        optionsOf(usage).flatMap(([name, option]) => {
          if (option.type === 'boolean' || kindOf(option.value) !== kind) return []
          const words = [`--${name}`, ...(option.short === undefined ? [] : [`-${option.short}`])]
          return words.map((word) => `'${usage.name} ${word}'`)
        }),
      )
      .join('|')
  const words = usages.map((usage) => {
    const options = optionsOf(usage).map(([name]) => `--${name}`)
    const files = usage.args.some((arg) => kindOf(arg) === 'file')
    const choices = usage.choices ? ` [[ $cur == -* ]] || words='${usage.choices.join(' ')}';` : ''
    const names = files ? ` [[ $cur == -* ]] || { compopt -o filenames; words=; generate=-f; };` : ''
    return `    ${usage.name}) words='${options.join(' ')}';${choices}${names} ;;`
  })
  return `# bash completion of millrace
_millrace() {
  local cur=\${COMP_WORDS[COMP_CWORD]} words generate=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${usages.map(({ name }) => name).join(' ')} help --help --version' -- "$cur")
    return
  fi
  case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD - 1]}" in
    ${taking('file')})
      compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    ${taking('folder')})
      compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    ${taking('other')})
      return ;;
  esac
  case "\${COMP_WORDS[1]}" in
${words.join('\n')}
    *) return ;;
  esac
  mapfile -t COMPREPLY < <(compgen $generate -W "$words" -- "$cur")
}
complete -F _millrace millrace
`
}

function zsh(usages: readonly Usage[]): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
  const described = (text: string): string => text.replace(/[\\:[\]]/g, '\\$&')
  const actions = { file: '_files', folder: '_files -/', other: ' ' }
  const cases = usages.map((usage) => {
    const options = optionsOf(usage).flatMap(([name, option]) => {
      const value = option.type === 'boolean' ? '' : `:${option.value}:${actions[kindOf(option.value)]}`
      const short = option.type === 'string' && option.short !== undefined ? [`-${option.short}`] : []
      const many = option.type === 'string' && option.multiple ? '*' : ''
      return [`--${name}`, ...short].map((word) => quoted(`${many}${word}[${described(option.about)}]${value}`))
    })
    const args = usage.args.map((arg, at) => {
      const choices = at === 0 && usage.choices ? `(${usage.choices.join(' ')})` : actions[kindOf(arg)]
      return quoted(`${at + 1}:${arg.slice(1, -1)}:${choices}`)
    })
    return `    ${usage.name})\n      _arguments ${[...options, ...args].join(' \\\n        ')} ;;`
  })
  return `#compdef millrace
_millrace() {
  local -a commands
  commands=(
${usages.map(({ name, about }) => `    ${quoted(`${name}:${described(about)}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join('\n')}
  esac
}
compdef _millrace millrace
`
}

function fish(usages: readonly Usage[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`
  const lines = usages.flatMap((usage) => {
    const here = `complete -c millrace -n '__fish_seen_subcommand_from ${usage.name}'`
    const takes = { file: ' -r -F', folder: " -x -a '(__fish_complete_directories)'", other: ' -x' }
    return [
      `complete -c millrace -n __fish_use_subcommand -a ${usage.name} -d ${quoted(usage.about)}`,
      ...optionsOf(usage).map(([name, option]) => {
        const short = option.type === 'string' && option.short !== undefined ? ` -s ${option.short}` : ''
        const value = option.type === 'boolean' ? '' : takes[kindOf(option.value)]
        return `${here} -l ${name}${short}${value} -d ${quoted(option.about)}`
      }),
      ...(usage.choices ? [`${here} -a ${quoted(usage.choices.join(' '))}`] : []),
      ...(usage.args.some((arg) => kindOf(arg) === 'file') ? [`${here} -F`] : []),
    ]
  })
  return `# fish completion of millrace\ncomplete -c millrace -f\n${lines.join('\n')}\n`
}
