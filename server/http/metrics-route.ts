import { MillraceError } from '../../protocol/errors.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { isLoopback } from '../sessions/client-address.ts'
import type { Permissions } from '../sessions/permissions.ts'
import type { UpgradeRequest } from '../transports/transport.ts'
import type { Callers } from './caller.ts'
import type { Route } from './route.ts'

/** Headers that a proxy adds. A request that has one may come from anywhere. */
const OF_PROXIES = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip']

type MetricsRouteParts = {
  readonly metrics: Metrics
  readonly callers: Callers
  readonly permissions: Permissions
}

/**
 * The route of the metrics. It answers programs on the same machine, and principals that may inspect the server. The
 * OpenAPI document does not list it.
 */
export function metricsRoute({ metrics, callers, permissions }: MetricsRouteParts): Route {
  return {
    method: 'GET',
    path: '/metrics',
    access: 'anybody',
    async handle({ facts }) {
      if (!isLocal(facts)) {
        const { principal } = await callers.identify(facts)
        if (!permissions.allows(principal, 'inspect', { type: 'server' }))
          throw new MillraceError(
            'forbidden',
            'metrics are for programs on the same machine without credentials, and for principals with the right observe, or whom authorize lets inspect the server',
          )
      }
      const { contentType, text } = await metrics.text()
      return new Response(text, { headers: { 'content-type': contentType, 'cache-control': 'no-store' } })
    },
  }
}

/** A program on this machine, without credentials: no page, and nothing that a proxy passed on. */
function isLocal({ remoteAddress, headers, origin }: UpgradeRequest): boolean {
  const host = (headers.get('host') ?? '').toLowerCase().replace(/:\d*$/, '')
  if (origin !== undefined || headers.get('authorization') !== undefined || !isLoopback(host)) return false
  return isLoopback(remoteAddress) && OF_PROXIES.every((name) => headers.get(name) === undefined)
}
