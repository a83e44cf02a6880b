/** What a client uploads, or the upload that it removes. */
export type UploadInput =
  | {
      /** The media type, such as `image/png`. */
      type: string
      /** In bytes. */
      size: number
      /** A name for the model. Default: none. */
      name?: string | undefined
    }
  | {
      /** The id of a complete upload. */
      remove: string
    }

/** How far an upload is, and what its client may send next. */
export type UploadProgress = {
  /** The bytes that the server has. */
  received: number
  /** Most bytes of one piece. */
  piece: number
  /** Most bytes that may be sent and not yet received. */
  window: number
}

/** A complete upload. A message names it as `{ type: 'image', upload }` or `{ type: 'file', upload }`. */
export type UploadReference = {
  /** Its id. It is of use only to the principal that made it. */
  upload: string
  /** Its type, such as `image/png`. */
  mediaType: string
  /** In bytes. */
  size: number
  /** When the server forgets it, by the server's clock: milliseconds since 1970. */
  expiresAt: number
}
