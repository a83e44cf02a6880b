// The module of a shared worker: it holds the connections that the pages of a browser share.

import { systemRuntime } from './runtime.ts'
import { SharedConnections } from './shared-connections.ts'
import type { Port } from './shared-messages.ts'
import { page } from './socket.ts'

const scope = globalThis as unknown as {
  onconnect: (event: { readonly ports: readonly [Port] }) => void
  readonly navigator: {
    readonly locks: { request(name: string, options: object, granted: () => void): Promise<unknown> }
  }
}

const connections = new SharedConnections({
  WebSocket: page.WebSocket!,
  runtime: systemRuntime,
  // A page holds its lock until it is closed, left or dies: then this request is granted.
  gone: (lock, signal) => scope.navigator.locks.request(lock, { signal }, () => {}),
})

scope.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data, ports: [own] }: { data: unknown; ports: readonly Port[] }) => {
    if (own) connections.open(data, own)
  }
}
