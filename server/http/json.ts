/** Data of an actor as JSON. Bytes, which JSON does not have, become text in base64. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, withBytes)
}

// A Buffer has been turned into something else before a replacer sees it: the holder has the original.
function withBytes(this: unknown, key: string, value: unknown): unknown {
  const original = (this as { readonly [key: string]: unknown })[key]
  return original instanceof Uint8Array ? Buffer.from(original).toString('base64') : value
}
