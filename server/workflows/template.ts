import { MillraceError } from '../../protocol/errors.ts'

/** A reference in a text of a definition: `{{value.title}}`. */
const REFERENCE = /\{\{\s*([\w$-]+(?:\.[\w$-]+)*)\s*\}\}/g
const WHOLE = /^\{\{\s*([\w$-]+(?:\.[\w$-]+)*)\s*\}\}$/
/** What references may begin with. */
const ROOTS = ['value', 'input'] as const

/** What the references of a definition may name: what the step before gave (in a `map`, the item), and the input. */
export type Named = { readonly value: unknown; readonly input: unknown }

/**
 * Fills in the references of data. A text that is nothing but one reference becomes what it names, of whatever type; in
 * a longer text, it becomes text. What is not there becomes null, or an empty text.
 */
export function filled(template: unknown, named: Named): unknown {
  if (typeof template === 'string') return filledText(template, named)
  if (Array.isArray(template)) return template.map((one) => filled(one, named))
  if (typeof template !== 'object' || template === null) return template
  return Object.fromEntries(Object.entries(template).map(([key, one]) => [key, filled(one, named)]))
}

function filledText(text: string, named: Named): unknown {
  const whole = WHOLE.exec(text)
  if (whole) return found(whole[1] as string, named) ?? null
  return text.replaceAll(REFERENCE, (_, path: string) => {
    const value = found(path, named) ?? ''
    return typeof value === 'string' ? value : JSON.stringify(value)
  })
}

/** Only own members are found: `constructor` of an object is none. */
function found(path: string, named: Named): unknown {
  let at: unknown = named
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as { readonly [name: string]: unknown })[name]
  }
  return at
}

/**
 * Checks the references of a template.
 * @throws MillraceError `bad_request` for one that begins with an unknown name.
 */
export function checkTemplate(where: string, template: unknown): void {
  if (typeof template === 'string') {
    for (const [reference, path = ''] of template.matchAll(REFERENCE))
      if (!(ROOTS as readonly string[]).includes(path.split('.')[0] as string))
        throw new MillraceError('bad_request', `${where}: ${reference} must begin with ${ROOTS.join(', ')}`)
  } else if (typeof template === 'object' && template !== null)
    for (const one of Object.values(template)) checkTemplate(where, one)
}
