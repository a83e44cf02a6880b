/** A value that should be text, as text: an actor may have written anything in its place. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'object' && value !== null ? jsonOf(value) : String(value)
}

/** A value as JSON. Bytes, which JSON lacks, become base64. What JSON cannot say becomes null. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, plain) ?? 'null'
}

/** A value as a reader of JSON gets it. */
export function plainOf(value: unknown): unknown {
  return JSON.parse(jsonOf(value)) as unknown
}

// A Buffer of Node turns itself into something else before a replacer sees it: the holder has the original.
function plain(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  const original = (this as { readonly [key: string]: unknown })[key]
  if (!ArrayBuffer.isView(original)) return value
  return base64Of(new Uint8Array(original.buffer, original.byteOffset, original.byteLength))
}

/** Bytes as base64. */
function base64Of(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** The bytes of base64 text. @throws an error for text that is not base64. */
export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
}
