import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** Where this was measured, without names: `2 cores, linux x64, Node 20.20.0, loopback, 2026-11-21`. */
export function machine(): string {
  const cores = availableParallelism()
  const kind = `${cores} core${cores === 1 ? '' : 's'}, ${process.platform} ${process.arch}`
  return `${kind}, Node ${process.versions.node}, loopback, ${new Date().toISOString().slice(0, 10)}`
}

/** Open files that a process may have here; a connection is one. */
export function mostOpenFiles(): number {
  try {
    const said = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
    return said === 'unlimited' ? Number.POSITIVE_INFINITY : Number(said)
  } catch {
    return 256
  }
}

/** Cores this process may run on, if processes can be bound to cores here. */
export function coresToPin(): number[] | undefined {
  try {
    const said = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8', stdio: 'pipe' })
    const list = said.slice(said.lastIndexOf(':') + 1).trim()
    return list.split(',').flatMap((part) => {
      const [from, to = from] = part.split('-').map(Number)
      return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i)
    })
  } catch {
    return undefined
  }
}
