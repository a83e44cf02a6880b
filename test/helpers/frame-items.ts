import type { Delta, DownFrame } from '../../protocol/frames.ts'

/** One item of a stream, however it was batched. */
export type Item = { seq: number; lane?: number; text?: string; type?: number | string; data?: unknown }

/** The items that a frame carries. Texts that the server merged are one entry, under their first number. */
export function itemsOf(frame: DownFrame): Item[] {
  if (frame.kind === 'event') return [{ seq: frame.seq, type: frame.type, data: frame.data }]
  if (frame.kind !== 'delta') return []
  const { seq, lane, body } = frame
  return [body].flat().map((text, i) => ({ seq: seq + i, lane, text }))
}

/** How many items of its stream a frame stands for. */
export function countOf(frame: DownFrame): number {
  if (frame.kind === 'event') return 1
  if (frame.kind !== 'delta') return 0
  return typeof frame.body === 'string' ? (frame.count ?? 1) : frame.body.length
}

/** All text of a frame. */
export function textOf({ body }: Delta): string {
  return [body].flat().join('')
}
