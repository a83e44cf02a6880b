import { createClient } from 'millrace/client'
import type { PeerClient } from './peer.ts'

export async function connect(port: number, n: number, atOnce: boolean): Promise<PeerClient> {
  let opened = (): void => {}
  const open = new Promise<void>((resolve) => (opened = resolve))
  const client = createClient(`ws://127.0.0.1:${port}`, {
    token: `${process.pid}-${n}`,
    ...(atOnce && { delays: { quickMs: 1, backoffMs: 1, maxBackoffMs: 1 } }),
    onStatus: (status) => {
      if (status === 'open') opened()
    },
  })
  client.connect()
  await open
  return {
    read(request, credit) {
      const { id, pace } = request
      const options = credit === undefined ? {} : { credit }
      const run =
        pace.type === 'tool' || pace.type === 'model'
          ? client.start(pace.type, id, options)
          : client.start('tokens', request, options)
      return run.text()
    },
    close: () => client.close(),
  }
}
