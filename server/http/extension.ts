import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Actor } from '../actors/actor.ts'
import type { Permissions } from '../sessions/permissions.ts'
import type { Route } from './route.ts'
import type { RunAccess } from './run-access.ts'

/** What an extension takes from the server over plain HTTP. */
export type ExtensionParts = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly actors: ReadonlyMap<string, Actor>
  readonly permissions: Permissions
  readonly access: RunAccess
  report(error: unknown): void
}

/**
 * More paths of a server over plain HTTP, which not every server has: `mcp()` of `millrace/server/mcp`, and `dashboard()`
 * of `millrace/server/dashboard`.
 */
export interface HttpExtension {
  /**
   * Called once for each server.
   * @internal
   */
  open(parts: ExtensionParts): OpenExtension
}

/** The paths of one server. */
export interface OpenExtension {
  readonly routes: readonly Route[]
  /** The server is closed. */
  close(): void
}
