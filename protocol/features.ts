/**
 * What a server of this version can do beyond the protocol of release 0.1.0, by the words that WELCOME lists. A client
 * asks for nothing that is not listed: an older server could take it for something else.
 */
export const FEATURES = ['runs', 'steer', 'govern', 'approve', 'stop'] as const
/** One of `FEATURES`. */
export type Feature = (typeof FEATURES)[number]
