import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import ts from 'typescript'

/**
 * One import line. `to` is a path from the root for a file of ours, and the bare specifier otherwise (`ws`,
 * `node:fs`). A `type` import costs nothing at run time; a `dynamic` one costs only where it is reached.
 */
export type Import = { from: string; to: string; kind: 'static' | 'dynamic' | 'type' }

/** The sources of the package and every import line in them. */
export type ImportGraph = { files: string[]; imports: Import[] }

/** Reads all `.ts` and `.tsx` files below the given folders; a folder that does not exist adds nothing. */
export function readSources(root: string, folders: readonly string[]): Map<string, string> {
  const sources = new Map<string, string>()
  for (const folder of folders) {
    for (const entry of listFolder(join(root, folder))) {
      const path = posix.join(folder, entry.replaceAll('\\', '/'))
      if (/\.tsx?$/.test(path)) sources.set(path, readFileSync(join(root, path), 'utf8'))
    }
  }
  return sources
}

export function importGraph(sources: ReadonlyMap<string, string>): ImportGraph {
  const imports = [...sources].flatMap(([path, text]) => importsOf(path, text))
  return { files: [...sources.keys()].sort(), imports }
}

/** The package a bare specifier belongs to: `openai/streaming` is `openai`, `@google/genai/web` is `@google/genai`. */
export function packageOf(specifier: string): string {
  const [first = '', second = ''] = specifier.split('/')
  return first.startsWith('@') ? `${first}/${second}` : first
}

/** Every file that can be reached from `start` over imports that `follow` accepts, without `start` itself. */
export function reachable(graph: ImportGraph, start: string, follow: (line: Import) => boolean): Set<string> {
  const seen = new Set<string>([start])
  const waiting = [start]
  for (let from = waiting.pop(); from !== undefined; from = waiting.pop()) {
    for (const line of graph.imports) {
      if (line.from !== from || seen.has(line.to) || !follow(line)) continue
      seen.add(line.to)
      waiting.push(line.to)
    }
  }
  seen.delete(start)
  return seen
}

/** The first circle found, as the list of its files; `undefined` when there is none. */
export function findCycle(graph: ImportGraph): string[] | undefined {
  const targets = new Map<string, string[]>()
  for (const { from, to } of graph.imports) targets.set(from, [...(targets.get(from) ?? []), to])

  const done = new Set<string>()
  const visit = (file: string, path: string[]): string[] | undefined => {
    const again = path.indexOf(file)
    if (again >= 0) return [...path.slice(again), file]
    if (done.has(file)) return undefined
    for (const target of targets.get(file) ?? []) {
      const cycle = visit(target, [...path, file])
      if (cycle) return cycle
    }
    done.add(file)
    return undefined
  }

  for (const file of graph.files) {
    const cycle = visit(file, [])
    if (cycle) return cycle
  }
  return undefined
}

function importsOf(path: string, text: string): Import[] {
  const found: Import[] = []
  const add = (specifier: ts.Node | undefined, kind: Import['kind']): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    const to = specifier.text.startsWith('.') ? posix.join(posix.dirname(path), specifier.text) : specifier.text
    found.push({ from: path, to, kind })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node) ? 'type' : 'static')
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static')
    else if (ts.isImportTypeNode(node))
      add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, 'type')
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], 'dynamic')
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest))
  return found
}

function isTypeOnly(node: ts.ImportDeclaration): boolean {
  return node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
