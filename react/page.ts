/** A channel to the other pages of a browser. */
type Channel = {
  onmessage: ((message: { data: unknown }) => void) | null
  postMessage(data: unknown): void
  close(): void
}

/** What the hooks use of the global object of a page. In Node, and where a server renders, some of it is missing. */
export const page = globalThis as unknown as {
  readonly document?: {
    readonly hidden: boolean
    addEventListener(type: string, listener: () => void): void
    removeEventListener(type: string, listener: () => void): void
  }
  readonly BroadcastChannel?: new (name: string) => Channel
  readonly MessageChannel?: new () => { readonly port1: Channel; readonly port2: Channel }
  requestAnimationFrame?(callback: () => void): number
  cancelAnimationFrame?(request: number): void
}
