/** Shorter words are no secrets: to take them out would mutilate a sentence. */
const MIN_CHARACTERS = 8
const REDACTED = '[redacted]'

/**
 * Takes what may be secret in the configuration of a server out of the words of that server: the values of its headers and
 * of its environment, such as the token behind `Bearer`. A server can repeat them, and clients and models see its errors.
 */
export function hiderOf(configured: { readonly [name: string]: string }): (text: string) => string {
  const secrets = Object.values(configured)
    .flatMap((value) => [value, ...value.split(/[\s,;=]+/)])
    .filter(({ length }) => length >= MIN_CHARACTERS)
  return (text) => secrets.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text)
}
