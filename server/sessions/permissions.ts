import type { Action, Authorize, RunTarget, Target } from '../actors/authorize.ts'
import type { Principal } from '../actors/principal.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { isThenable } from '../streams/thenable.ts'

/** The server's own process, which owns the runs that it starts for nobody else. It may do everything. */
export const LOCAL: Principal = Object.freeze({ id: '\u0000local' })

/** The right that an action on a run of somebody else needs. Without one, only the owner may do it. */
const RIGHTS: { readonly [action in Action]?: string } = {
  observe: 'observe',
  inspect: 'observe',
  cancel: 'cancel',
  approve: 'approve',
}

/**
 * What a server allows without an `authorize` of its own: every principal may start every actor and do everything with
 * its own runs. The right `observe` allows `observe` and `inspect` for all runs, the right `cancel` allows
 * `cancel`, and the right `approve` allows `approve`.
 */
export const defaultAuthorize: Authorize = (principal, action, target) => {
  if (action === 'start') return true
  if ('owner' in target && target.owner.id === principal.id) return true
  const right = RIGHTS[action]
  return right !== undefined && principal.rights?.includes(right) === true
}

/** Decides who may do what. Every surface of a server asks it: connections, the router and inspectors. */
export class Permissions {
  readonly #authorize: Authorize
  readonly #report: (error: unknown) => void

  /** @param report receives what `authorize` threw, or an error about what it returned. */
  constructor(authorize: Authorize, report: (error: unknown) => void) {
    this.#authorize = authorize
    this.#report = report
  }

  /** Whether `principal` may do this. It never throws: an `authorize` that fails refuses. */
  allows(principal: Principal, action: Action, target: Target): boolean {
    if (principal === LOCAL) return true
    try {
      const answer: unknown = this.#authorize(principal, action, target)
      if (typeof answer === 'boolean') return answer
      // It is not waited for, and must not become an unhandled rejection.
      const isLate = isThenable(answer)
      if (isLate) Promise.resolve(answer).catch(() => {})
      const what = isLate
        ? 'a promise: look up what it needs in authenticate'
        : answer === null
          ? 'null'
          : typeof answer
      throw new TypeError(`authorize must return true or false, not ${what}`)
    } catch (error) {
      this.#report(error)
      return false
    }
  }
}

/** A run as the target of an action. */
export function targetOf({ id, actorName, principal }: Pick<ReadableRun, 'id' | 'actorName' | 'principal'>): RunTarget {
  return { type: 'run', run: id, actor: actorName, owner: principal }
}
