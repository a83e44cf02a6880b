import { z } from 'zod'
import type { MillraceError } from '../../protocol/errors.ts'
import type { Route } from './route.ts'
import { json } from './run-routes.ts'

const ALIVE = z.object({ status: z.literal('alive') })
const READY = z.object({ status: z.literal('ready') })

/**
 * The routes of health, for supervisors and load balancers, which ask without credentials. An answer says nothing of runs or
 * principals.
 * @param notReady Why the server can take no run now. Undefined: it can.
 */
export function healthRoutes(notReady: () => MillraceError | undefined): Route[] {
  return [
    {
      method: 'GET',
      path: '/healthz',
      access: 'probe',
      operation: { summary: 'Tells that the process answers.', answers: { 200: ALIVE } },
      handle: () => json({ status: 'alive' }),
    },
    {
      method: 'GET',
      path: '/readyz',
      access: 'probe',
      operation: { summary: 'Tells whether the server takes runs now.', answers: { 200: READY } },
      handle() {
        const error = notReady()
        if (error) throw error
        return json({ status: 'ready' })
      },
    },
  ]
}
