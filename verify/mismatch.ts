/** What a check finds wrong: what PROTOCOL.md asks for, and what was seen in its place. */
export class Mismatch extends Error {
  override readonly name: string = 'Mismatch'
  readonly expected: string
  readonly seen: string
  /** Why nothing can be judged behind it. Default: the other checks can be. */
  readonly lastBecause: string | undefined

  constructor(expected: string, seen: string, lastBecause?: string) {
    super(`expected ${expected}, but saw ${seen}`)
    this.expected = expected
    this.seen = seen
    this.lastBecause = lastBecause
  }
}

/** The reason why a check cannot judge this subject. */
export class NotJudged extends Error {
  override readonly name: string = 'NotJudged'
}

/** @throws Mismatch unless `holds`. */
export function must(holds: boolean, expected: string, seen: string): asserts holds {
  if (!holds) throw new Mismatch(expected, seen)
}

/** @throws Mismatch unless both are the same JSON. */
export function same(seen: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(seen), JSON.stringify(expected)]
  must(left === right, `${what}: ${shortened(right ?? 'nothing')}`, shortened(left ?? 'nothing'))
}

/** A text that fits into a line of a report. */
export function shortened(text: string, length = 200): string {
  return text.length > length ? `${text.slice(0, length)}...` : text
}
