import type { UploadProgress, UploadReference } from '../protocol/upload.ts'
import type { StartOptions } from './client.ts'
import type { Run } from './run.ts'

/** The options of `upload`. */
export type UploadOptions = Pick<StartOptions, 'signal' | 'meta' | 'detachMs'> & {
  /** The media type, such as `image/png`. Default: that of the Blob or File. */
  type?: string | undefined
  /** A name for the model. Default: that of the File, if it is one. */
  name?: string | undefined
  /** The name of the actor that the server registered. Default `uploads`. */
  actor?: string | undefined
  /** Receives how many bytes the server has, and of how many: first 0, last all. Default: none. */
  onProgress?: ((received: number, size: number) => void) | undefined
}

/**
 * Uploads an image or a file to a server that has `uploads()`, and resolves with a reference for messages. It reads the
 * source piece by piece, and sends no more than the server has room for. A lost connection delays it; the upload goes on
 * when the client is back.
 *
 * Rejects with `invalid_input` for a type, a size or bytes that the server does not take, with `overloaded` when there is
 * no room for it, with `cancelled` after an abort of `signal`, and with the other errors of a run. What was sent is then
 * dropped.
 *
 * @param client A client, whose connection it shares with all its runs.
 * @param source A File, a Blob, or bytes.
 */
export async function upload(
  client: { start(actor: never, input: never, options?: StartOptions): unknown },
  source: Blob | Uint8Array,
  { type, name, actor = 'uploads', onProgress, ...options }: UploadOptions = {},
): Promise<UploadReference> {
  const blob = source instanceof Blob ? source : new Blob([source as Uint8Array<ArrayBuffer>])
  const { size } = blob
  const title = name ?? (blob as Partial<File>).name
  const what = { type: type ?? blob.type, size, ...(title && { name: title }) }
  const run = client.start(actor as never, what as never, options) as Run
  let sent = 0
  let refusal: unknown
  for await (const event of run) {
    if (event.type !== 'data') continue
    const { received, piece, window } = event.value as UploadProgress
    onProgress?.(received, size)
    for (const room = Math.min(size, received + window); sent < room; ) {
      const at = sent
      sent = Math.min(at + piece, room)
      const bytes = new Uint8Array(await blob.slice(at, sent).arrayBuffer())
      run.send('piece', { at, bytes }).catch((error: unknown) => {
        refusal = error
        void run.cancel()
      })
    }
  }
  // The loop has thrown all errors but that of a cancel from here.
  return run.result.catch((error: unknown) => {
    throw options.signal?.aborted ? error : (refusal ?? error)
  }) as Promise<UploadReference>
}
