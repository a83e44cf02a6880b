import { compileFunction } from 'node:vm'
import { findPattern } from './lua-pattern.ts'

/** A value of Lua. Texts have one character for each byte. Tables are lists: no script here has another one. */
export type LuaValue = string | number | boolean | undefined | LuaTable | LuaFunction
type LuaTable = LuaValue[]
/** Functions give all of their values. */
type LuaFunction = (...args: LuaValue[]) => LuaValue[]

/** What a script has that is not its own. */
type LuaWorld = {
  readonly keys: readonly string[]
  readonly args: readonly string[]
  /** `redis.call` */
  call(args: readonly LuaValue[]): LuaValue
}

/** A script that is ready to run. It gives its first value. */
export type LuaScript = (world: LuaWorld) => LuaValue

/**
 * Compiles the part of Lua 5.1 that scripts for Redis use here: no coroutines, metatables or tables with names.
 * @throws Error with the line, for anything else.
 */
export function compileLua(text: string): LuaScript {
  const body = new Compiler(tokensOf(text)).script()
  const run = compileFunction(body, ['KEYS', 'ARGV', 'call', 'lib']) as (
    keys: LuaTable,
    args: LuaTable,
    call: LuaFunction,
    lib: typeof LIBRARY,
  ) => LuaValue[] | undefined
  return ({ keys, args, call }) => run([...keys], [...args], (...of) => [call(of)], LIBRARY)?.[0]
}

// --- what compiled scripts use

function isTrue(value: LuaValue): boolean {
  return value !== undefined && value !== false
}

function numberOf(value: LuaValue): number {
  if (typeof value === 'number') return value
  const number = toNumber(value)
  if (number === undefined) throw new Error(`attempt to perform arithmetic on ${typeof value}`)
  return number
}

function toNumber(value: LuaValue): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value !== 'string' || value.trim() === '') return undefined
  const number = Number(value)
  return Number.isNaN(number) ? undefined : number
}

/** As Lua writes numbers: 14 digits. */
export function textOf(value: LuaValue): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'number') throw new Error(`attempt to concatenate ${typeof value}`)
  if (Number.isInteger(value) && Math.abs(value) < 1e14) return `${value}`
  const [digits = '', exponent] = value.toPrecision(14).split('e')
  const short = digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits
  return exponent === undefined ? short : `${short}e${exponent.replace(/^([+-])(\d)$/, '$10$2')}`
}

function tableOf(value: LuaValue): LuaTable {
  if (!Array.isArray(value)) throw new Error(`attempt to index ${typeof value}`)
  return value
}

function stringOf(value: LuaValue): string {
  if (typeof value !== 'string' && typeof value !== 'number') throw new Error(`string expected, got ${typeof value}`)
  return textOf(value)
}

function sub(text: LuaValue, from: LuaValue, to: LuaValue = -1): LuaValue[] {
  const all = stringOf(text)
  const place = (at: number): number => (at < 0 ? Math.max(0, all.length + at + 1) : at)
  return [all.slice(Math.max(1, place(numberOf(from))) - 1, place(numberOf(to)))]
}

function byte(text: LuaValue, at: LuaValue = 1): LuaValue[] {
  const code = stringOf(text).charCodeAt(numberOf(at) - 1)
  return [Number.isNaN(code) ? undefined : code]
}

function match(text: LuaValue, pattern: LuaValue): LuaValue[] {
  return findPattern(stringOf(text), stringOf(pattern), 0)?.captures ?? [undefined]
}

function gsub(text: LuaValue, pattern: LuaValue, replace: LuaValue): LuaValue[] {
  const all = stringOf(text)
  let made = ''
  let count = 0
  let at = 0
  for (let found = findPattern(all, stringOf(pattern), at); found; found = findPattern(all, stringOf(pattern), at)) {
    made += all.slice(at, found.start) + stringOf((replace as LuaFunction)(...found.captures)[0])
    at = found.end
    count++
  }
  return [made + all.slice(at), count]
}

const METHODS = {
  tonumber: (value: LuaValue): LuaValue[] => [toNumber(value)],
  unpack: (of: LuaValue, from: LuaValue = 1, to?: LuaValue): LuaValue[] =>
    Array.from(tableOf(of).slice(numberOf(from) - 1, to === undefined ? undefined : numberOf(to))),
  'string.sub': sub,
  'string.byte': byte,
  'string.char': (...codes: LuaValue[]): LuaValue[] => [String.fromCharCode(...(codes as number[]))],
  'string.match': match,
  'string.gsub': gsub,
  'string.format': (format: LuaValue, value: LuaValue): LuaValue[] => {
    if (format !== '%.0f') throw new Error(`no format ${String(format)}`)
    return [numberOf(value).toFixed(0)]
  },
  'math.floor': (value: LuaValue): LuaValue[] => [Math.floor(numberOf(value))],
  'math.ceil': (value: LuaValue): LuaValue[] => [Math.ceil(numberOf(value))],
  'math.min': (...values: LuaValue[]): LuaValue[] => [Math.min(...values.map(numberOf))],
  'math.max': (...values: LuaValue[]): LuaValue[] => [Math.max(...values.map(numberOf))],
  'table.concat': (of: LuaValue, between: LuaValue = ''): LuaValue[] => [
    tableOf(of).map(textOf).join(stringOf(between)),
  ],
  'table.remove': (of: LuaValue, at?: LuaValue): LuaValue[] => {
    const table = tableOf(of)
    return table.splice(at === undefined ? table.length - 1 : numberOf(at) - 1, 1)
  },
} satisfies Record<string, LuaFunction>

/** What a loop goes through: the values of each turn. */
const LOOPS: { readonly [name: string]: (...args: LuaValue[]) => Iterable<LuaValue[]> } = {
  *ipairs(of) {
    const table = tableOf(of)
    for (let n = 1; table[n - 1] !== undefined; n++) yield [n, table[n - 1]]
  },
  *'string.gmatch'(text, pattern) {
    const all = stringOf(text)
    let at = 0
    for (let found = findPattern(all, stringOf(pattern), at); found; found = findPattern(all, stringOf(pattern), at)) {
      yield found.captures
      at = found.end
    }
  },
}
/** What compiled scripts call by `lib`. */
const LIBRARY = {
  methods: METHODS,
  loops: LOOPS,
  is: isTrue,
  and: (one: LuaValue, other: () => LuaValue): LuaValue => (isTrue(one) ? other() : one),
  or: (one: LuaValue, other: () => LuaValue): LuaValue => (isTrue(one) ? one : other()),
  num: numberOf,
  str: textOf,
  get: (of: LuaValue, at: LuaValue): LuaValue => tableOf(of)[(at as number) - 1],
  set(of: LuaValue, at: LuaValue, value: LuaValue): void {
    const table = tableOf(of)
    const index = (at as number) - 1
    if (!Number.isInteger(index) || index < 0 || index > table.length)
      throw new Error(`a hole in a table: ${String(at)}`)
    if (value === undefined && index === table.length - 1) table.length = index
    else if (value !== undefined || index < table.length) table[index] = value
  },
  /** A table of these values. Those at its end that are nil are none. */
  list(values: LuaValue[]): LuaTable {
    while (values.length > 0 && values[values.length - 1] === undefined) values.pop()
    return values
  },
  len: (of: LuaValue): number => (of as string | LuaTable).length,
  less(one: LuaValue, other: LuaValue): boolean {
    if (typeof one !== typeof other) throw new Error(`attempt to compare ${typeof one} with ${typeof other}`)
    return (one as number) < (other as number)
  },
  method: (of: LuaValue, name: string): LuaFunction => {
    const found = (METHODS as Record<string, LuaFunction>)[`string.${name}`]
    if (!found) throw new Error(`no method ${name}`)
    return (...args) => found(of, ...args)
  },
}

// --- reading

type Token = {
  readonly kind: 'name' | 'number' | 'string' | 'sign' | 'end'
  readonly text: string
  readonly line: number
}

const TOKEN = new RegExp(
  [
    /--\[\[[\s\S]*?\]\]|--[^\n]*|\s+/,
    /(?<name>[A-Za-z_]\w*)/,
    /(?<number>\d+(?:\.\d+)?)/,
    /(?<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")/,
    /(?<sign>\.\.|==|~=|<=|>=|[-+*/%#<>=(){}[\];:,.])/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'y',
)

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const from = TOKEN.lastIndex
    const found = TOKEN.exec(text)
    if (!found) throw new Error(`line ${line}: cannot read ${text.slice(from, from + 20)}`)
    const [kind, read] = Object.entries(found.groups ?? {}).find(([, value]) => value !== undefined) ?? []
    if (kind !== undefined && read !== undefined) tokens.push({ kind: kind as Token['kind'], text: read, line })
    line += found[0].split('\n').length - 1
  }
  return [...tokens, { kind: 'end', text: '', line }]
}

/** The bytes that a text in quotation marks stands for. */
function unquoted(text: string): string {
  return text
    .slice(1, -1)
    .replace(/\\(\d{1,3}|.)/gs, (_, code: string) =>
      /^\d/.test(code) ? String.fromCharCode(Number(code)) : (ESCAPES[code] ?? code),
    )
}
const ESCAPES: { readonly [code: string]: string } = { n: '\n', r: '\r', t: '\t' }

/** Of operators, those that bind less come first. All but `..` of one row are read from the left. */
const OPERATORS = [['or'], ['and'], ['<', '>', '<=', '>=', '~=', '=='], ['..'], ['+', '-'], ['*', '/', '%']]

/** Writes JavaScript. An expression is one value; a call alone can give several. */
class Compiler {
  readonly #tokens: readonly Token[]
  #at = 0
  /** The names that are known, innermost last. */
  readonly #scopes: Set<string>[] = []

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  script(): string {
    const body = this.#block([], ['end'])
    if (this.#next.kind !== 'end') throw this.#wrong()
    return `'use strict';${body}`
  }

  // --- statements

  #block(names: readonly string[], ends: readonly string[]): string {
    this.#scopes.push(new Set(names))
    let code = ''
    while (!this.#isEnd(ends)) code += this.#statement()
    this.#scopes.pop()
    return code
  }

  #isEnd(ends: readonly string[]): boolean {
    return this.#next.kind === 'end' || (this.#next.kind === 'name' && ends.includes(this.#next.text))
  }

  #statement(): string {
    if (this.#took('local')) return this.#took('function') ? this.#function() : this.#local()
    if (this.#took('if')) return this.#if()
    if (this.#took('while')) {
      const condition = this.#expression()
      return `while(${truth(condition)}){${this.#body([])}}`
    }
    if (this.#took('for')) return this.#for()
    if (this.#took('return')) return this.#return()
    if (this.#took('break')) return 'break;'
    return this.#callOrAssignment()
  }

  #local(): string {
    const names = this.#names()
    const values = this.#took('=') ? this.#list() : { values: 'undefined', isMany: false }
    // In its own value, the name is that of outside.
    for (const name of names) this.#declare(name)
    if (names.length === 1 && !values.isMany) return `let ${local(names[0]!)}=${values.values};`
    return `let [${names.map(local).join()}]=[${values.values}];`
  }

  #function(): string {
    const name = this.#name()
    this.#declare(name)
    return `const ${local(name)}=${this.#functionBody()};`
  }

  #functionBody(): string {
    this.#expect('(')
    const names = this.#took(')') ? [] : this.#names()
    if (names.length > 0) this.#expect(')')
    // A function without a return gives nothing.
    return `((${names.map(local).join()})=>{${this.#body(names)}return [];})`
  }

  /** Statements up to the end that belongs to them. */
  #body(names: readonly string[]): string {
    this.#took('do')
    const code = this.#block(names, ['end'])
    this.#expect('end')
    return code
  }

  #if(): string {
    const condition = this.#expression()
    this.#expect('then')
    const then = this.#block([], ['elseif', 'else', 'end'])
    const code = `if(${truth(condition)}){${then}}`
    if (this.#took('elseif')) return `${code}else ${this.#if()}`
    const otherwise = this.#took('else') ? `else{${this.#block([], ['end'])}}` : ''
    this.#expect('end')
    return code + otherwise
  }

  #for(): string {
    const names = this.#names()
    if (this.#took('=')) {
      const [name] = names.map(local)
      const [from, to, step = '1'] = this.#expressions()
      const isDown = step.startsWith('(-')
      const head = `let i=lib.num(${from}),n=lib.num(${to});${isDown ? 'i>=n' : 'i<=n'};i+=${step}`
      return `for(${head}){let ${name}=i;${this.#body(names)}}`
    }
    this.#expect('in')
    const loop = this.#libraryName()
    if (!LOOPS[loop]) throw this.#wrong()
    this.#expect('(')
    const { values } = this.#list()
    this.#expect(')')
    return `for(const [${names.map(local).join()}] of lib.loops['${loop}'](${values})){${this.#body(names)}}`
  }

  #return(): string {
    if (this.#isEnd(['end', 'else', 'elseif'])) return 'return [];'
    return `return [${this.#list().values}];`
  }

  #callOrAssignment(): string {
    const target = this.#suffixed()
    if (target.isCall) return `${target.call};`
    const targets = [target]
    while (this.#took(',')) targets.push(this.#suffixed())
    this.#expect('=')
    const { values } = this.#list()
    if (targets.length > 1) throw this.#wrong()
    if (target.index) return `lib.set(${target.index.of},${target.index.at},${one(values)});`
    return `${target.value}=${one(values)};`
  }

  // --- expressions

  /** Values with commas between. The last can be many. */
  #list(): { values: string; isMany: boolean } {
    const values: string[] = []
    for (;;) {
      const { value, call } = this.#operand(0)
      const isLast = !this.#took(',')
      if (isLast && call !== undefined) return { values: [...values, `...${call}`].join(), isMany: true }
      values.push(value)
      if (isLast) return { values: values.join(), isMany: values.length > 1 }
    }
  }

  #expressions(): string[] {
    const all = [this.#expression()]
    while (this.#took(',')) all.push(this.#expression())
    return all
  }

  #expression(): string {
    return this.#operand(0).value
  }

  #operand(level: number): Value {
    const operators = OPERATORS[level]
    if (!operators) return this.#unary()
    const first = this.#operand(level + 1)
    let { value } = first
    let isAlone = true
    while (operators.includes(this.#next.text) && this.#next.kind !== 'string') {
      const sign = this.#take().text
      // Lua joins texts from the right.
      const other = this.#operand(sign === '..' ? level : level + 1).value
      value = binary(sign, value, other)
      isAlone = false
    }
    return isAlone ? first : { value }
  }

  #unary(): Value {
    if (this.#took('not')) return { value: `!${truth(this.#unary().value)}` }
    if (this.#took('-')) return { value: `(-lib.num(${this.#unary().value}))` }
    if (this.#took('#')) return { value: `lib.len(${this.#unary().value})` }
    return this.#suffixed()
  }

  #suffixed(): Suffixed {
    let of = this.#primary()
    for (;;) {
      if (this.#took('[')) {
        const at = this.#expression()
        this.#expect(']')
        of = { value: `lib.get(${of.value},${at})`, index: { of: of.value, at } }
      } else if (this.#took(':')) of = this.#call(`lib.method(${of.value},'${this.#name()}')`)
      else if (this.#next.text === '(' && this.#next.kind === 'sign') of = this.#call(of.value)
      else return of
    }
  }

  #call(callee: string): Suffixed {
    this.#expect('(')
    const { values } = this.#took(')') ? { values: '' } : this.#listAnd(')')
    const call = `${callee}(${values})`
    return { value: `${call}[0]`, call, isCall: true }
  }

  #listAnd(sign: string): { values: string } {
    const list = this.#list()
    this.#expect(sign)
    return list
  }

  #primary(): Suffixed {
    const { kind, text } = this.#next
    if (kind === 'number') return { value: this.#take().text }
    if (kind === 'string') return { value: JSON.stringify(unquoted(this.#take().text)) }
    if (this.#took('(')) {
      const value = this.#expression()
      this.#expect(')')
      return { value: `(${value})` }
    }
    if (this.#took('{')) return { value: `lib.list([${this.#took('}') ? '' : this.#listAnd('}').values}])` }
    if (this.#took('function')) return { value: this.#functionBody() }
    if (this.#took('nil')) return { value: 'undefined' }
    if (text === 'true' || text === 'false') return { value: this.#take().text }
    if (kind !== 'name') throw this.#wrong()
    if (this.#scopes.some((scope) => scope.has(text))) return { value: local(this.#take().text) }
    if (text === 'KEYS' || text === 'ARGV') return { value: this.#take().text }
    const name = this.#libraryName()
    if (name === 'redis.call') return { value: 'call' }
    if (!(name in METHODS)) throw this.#wrong()
    return { value: `lib.methods['${name}']` }
  }

  /** A name of the library, with that of its part. */
  #libraryName(): string {
    const name = this.#name()
    return this.#took('.') ? `${name}.${this.#name()}` : name
  }

  // --- tokens

  get #next(): Token {
    return this.#tokens[this.#at]!
  }

  #take(): Token {
    return this.#tokens[this.#at++]!
  }

  #took(text: string): boolean {
    if (this.#next.text !== text || this.#next.kind === 'string') return false
    this.#at++
    return true
  }

  #expect(text: string): void {
    if (!this.#took(text)) throw this.#wrong(text)
  }

  #name(): string {
    if (this.#next.kind !== 'name') throw this.#wrong('a name')
    return this.#take().text
  }

  #names(): string[] {
    const names = [this.#name()]
    while (this.#took(',')) names.push(this.#name())
    return names
  }

  #declare(name: string): void {
    this.#scopes[this.#scopes.length - 1]?.add(name)
  }

  #wrong(expected = 'something that this compiler knows'): Error {
    return new Error(`line ${this.#next.line}: expected ${expected}, found ${this.#next.text}`)
  }
}

type Value = { readonly value: string; readonly call?: string }
type Suffixed = Value & { readonly isCall?: boolean; readonly index?: { readonly of: string; readonly at: string } }

/** JavaScript's own words are no names there. */
function local(name: string): string {
  return `$${name}`
}

/** The first of these values. */
function one(values: string): string {
  return `[${values}][0]`
}

/** In Lua, 0 and the empty text are true. */
function truth(value: string): string {
  return `lib.is(${value})`
}

function binary(sign: string, one: string, other: string): string {
  switch (sign) {
    case 'and':
      return `lib.and(${one},()=>${other})`
    case 'or':
      return `lib.or(${one},()=>${other})`
    case '==':
      return `(${one}===${other})`
    case '~=':
      return `(${one}!==${other})`
    case '<':
      return `lib.less(${one},${other})`
    case '>':
      return `lib.less(${other},${one})`
    case '<=':
      return `!lib.less(${other},${one})`
    case '>=':
      return `!lib.less(${one},${other})`
    case '..':
      return `(lib.str(${one})+lib.str(${other}))`
    default:
      return `(lib.num(${one})${sign}lib.num(${other}))`
  }
}
