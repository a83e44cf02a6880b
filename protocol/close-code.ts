// Constants of a module, for the reason given in tag.ts.

export const done = 1000
export const malformed = 4400
export const unauthenticated = 4401
export const forbidden = 4403
export const noSubprotocol = 4406
export const helloTimeout = 4408
export const takenOver = 4409
export const tooLarge = 4413
export const sequenceFault = 4420
export const tooMany = 4429
export const slow = 4430
export const draining = 4503
