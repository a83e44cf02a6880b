/** Where a server listens unless it is told otherwise, and where clients look for one. */
export const DEFAULT_HOST = '127.0.0.1'
export const DEFAULT_PORT = 7400
export const DEFAULT_URL: string = `ws://${DEFAULT_HOST}:${DEFAULT_PORT}`
