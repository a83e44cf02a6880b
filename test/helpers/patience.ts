/**
 * How long anything may take to come that a test waits for, in milliseconds. Reached only by what never comes: it is long,
 * so that a busy machine makes a test slow, and never red.
 */
export const PATIENCE_MS = 30_000
