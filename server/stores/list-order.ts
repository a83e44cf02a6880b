import type { ListPosition } from './run-store.ts'

/** The order of the list of a principal: the newest run first, and of one millisecond the larger id. For `sort`. */
export function newestFirst(a: ListPosition, b: ListPosition): number {
  return b.startedAt - a.startedAt || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
}
