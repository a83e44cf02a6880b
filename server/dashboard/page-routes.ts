import type { Call } from '../http/call.ts'
import { HttpError } from '../http/problem.ts'
import type { Route } from '../http/route.ts'
import type { PageFile, PageFiles } from './page-files.ts'

/**
 * What the page may do: run its own files, and speak to the server that it came from. No script or style is in the
 * document, no text becomes code or markup, and no other page shows it in a frame.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}
/** The name of an asset changes with its content. */
const FOR_EVER = 'public, max-age=31536000, immutable'

/** The routes of the page, for anybody: it has no secret, and can do nothing without credentials. */
export function pageRoutes({ document, assets }: PageFiles): Route[] {
  function asset(call: Call): Response {
    const file = assets.get(call.param('file'))
    if (!file) throw new HttpError(404, 'not_found', 'the page has no such file: load it again')
    return answer(call, file, FOR_EVER)
  }

  return [
    { method: 'GET', path: '/', access: 'anybody', handle: (call) => answer(call, document, 'no-cache') },
    { method: 'GET', path: '/assets/:file', access: 'anybody', handle: asset },
  ]
}

function answer({ request }: Call, file: PageFile, caching: string): Response {
  const isCompressed = takesGzip(request.headers.get('accept-encoding') ?? '')
  const bytes = isCompressed ? file.compressed : file.bytes
  const headers = {
    ...HEADERS,
    'cache-control': caching,
    'content-type': file.type,
    'content-length': `${bytes.length}`,
    vary: 'accept-encoding',
    ...(isCompressed && { 'content-encoding': 'gzip' }),
  }
  return new Response(bytes, { headers })
}

/** Whether a list of codings (RFC 9110, section 12.5.3) has gzip in it, and does not forbid it. */
function takesGzip(codings: string): boolean {
  return codings.split(',').some((coding) => {
    const [name, weight = ''] = coding.toLowerCase().split(';')
    return name!.trim() === 'gzip' && !/^\s*q=0(\.0*)?\s*$/.test(weight)
  })
}
