import { MillraceError } from '../../../protocol/errors.ts'
import type { Batch } from '../run-store.ts'

/** Of what is packed. A release that packs something else takes another number. */
const VERSION = 1
/** A flag next to the version: the batch has lanes that are open. */
const HAS_OPEN = 0x80
/** The most bytes of a varint: a number of 53 bits. */
const MAX_VARINT = 8

/** A batch as one value in a Redis stream: its numbers as varints, then its bytes. */
export function packBatch({ gen, first, last, at, index, bodies, open }: Batch): Buffer {
  const head = Buffer.allocUnsafe(1 + 6 * MAX_VARINT)
  head[0] = open ? VERSION | HAS_OPEN : VERSION
  let end = 1
  for (const number of [first, last - first, gen, at, index.length, ...(open ? [open.length] : [])])
    end = writeVarint(head, end, number)
  return Buffer.concat([head.subarray(0, end), index, ...(open ? [open] : []), bodies])
}

/** @throws MillraceError `store_unavailable` for what another release has packed. */
export function unpackBatch(packed: Buffer): Batch {
  const [kind = 0] = packed
  if ((kind & ~HAS_OPEN) !== VERSION)
    throw new MillraceError('store_unavailable', 'another release of millrace wrote this log; install that release', {
      retryable: false,
    })
  const reader = { at: 1 }
  const next = (): number => readVarint(packed, reader)
  const [first, more, gen, at, indexBytes] = [next(), next(), next(), next(), next()]
  const openBytes = kind & HAS_OPEN ? next() : 0
  const cut = (bytes: number): Uint8Array => new Uint8Array(packed.subarray(reader.at, (reader.at += bytes)))
  const index = cut(indexBytes)
  const open = kind & HAS_OPEN ? cut(openBytes) : undefined
  const bodies = cut(packed.length - reader.at)
  return { gen, first, last: first + more, at, index, bodies, ...(open && { open }) }
}

function writeVarint(into: Buffer, at: number, number: number): number {
  let rest = number
  let end = at
  while (rest >= 0x80) {
    into[end++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  into[end++] = rest
  return end
}

function readVarint(from: Buffer, reader: { at: number }): number {
  let number = 0
  for (let unit = 1; ; unit *= 0x80) {
    const byte = from[reader.at++] ?? 0
    number += (byte & 0x7f) * unit
    if (byte < 0x80) return number
  }
}
