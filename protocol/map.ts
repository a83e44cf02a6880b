/** Whether a value has names and values, as the map of a message has: an object that is no list. */
export function isMap(value: unknown): value is { [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
