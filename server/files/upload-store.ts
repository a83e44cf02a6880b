/** A complete upload, as its owner's agents may read it. */
export type Upload = {
  /** Names it: unguessable, and of no use to another principal. */
  readonly id: string
  /** The id of its owner. */
  readonly principal: string
  /** The type that the client stated and the bytes did not contradict. */
  readonly mediaType: string
  /** Its bytes. Do not change them: every reader has the same. */
  readonly data: Uint8Array
  /** The name that the client gave it. */
  readonly name: string | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Where complete uploads are kept until they expire. Whoever keeps them elsewhere writes one of these. */
export interface UploadStore {
  put(upload: Upload): void
  /** Undefined for the id of another principal's as for one that is unknown. */
  get(principal: string, id: string): Upload | undefined
  delete(principal: string, id: string): void
}

/** Keeps uploads in the memory of the process. */
export class UploadMemory implements UploadStore {
  readonly #uploads = new Map<string, Upload>()

  put(upload: Upload): void {
    this.#uploads.set(upload.id, upload)
  }

  get(principal: string, id: string): Upload | undefined {
    const upload = this.#uploads.get(id)
    return upload?.principal === principal ? upload : undefined
  }

  delete(principal: string, id: string): void {
    if (this.get(principal, id)) this.#uploads.delete(id)
  }
}
