import type { HttpExtension } from '../http/extension.ts'
import { factRoutes } from './fact-routes.ts'
import { pageFiles } from './page-files.ts'
import { pageRoutes } from './page-routes.ts'

/**
 * Shows a server in a browser: `createServer({ actors: { ...actors, inspector: inspector() }, http: { dashboard:
 * dashboard() } })`. The page is at `/`, behind the path of an `attach`. It has no secret: whoever opens it gives it the
 * credentials of a principal, and sees and does what that principal may. It reads the actor `inspector`.
 * @throws MillraceError `unavailable` where the files of the page are missing: the package was not built.
 */
export function dashboard(): HttpExtension {
  const files = pageFiles()
  return { open: (parts) => ({ routes: [...pageRoutes(files), ...factRoutes(parts)], close() {} }) }
}
