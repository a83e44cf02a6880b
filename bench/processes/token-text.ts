const TEXT = `
A server for agents has four things to do well. It streams what a model says to whoever asked for it, it slows down when
the reader does, it stops at once when it is told to, and it takes up where it was after a connection was lost. None of
these is difficult alone. What makes them difficult is that they meet: a reader that is slow is cut off, comes back on
another connection, and cancels before the first item that it missed has arrived. Then the provider still writes, a tool
still runs, and somebody still pays for both. So every token goes one way, from the provider through the actor and the
log to the reader, and every word of the reader goes the other way, ahead of all tokens, up to the socket of the provider.
`

/**
 * Tokens as models make them, a word each. The number of them has no divisor in common with that of a
 * chunk, so that one that is lost, doubled or out of place makes a difference.
 */
export const WORDS: readonly string[] = oddly(
  (TEXT.trim().match(/\s?\w+|\s?[^\w\s]/g) ?? []).map((word) => word.replace('\n', ' ')),
)

export const LARGE: string = 'x'.repeat(1_000)

/** Mean length of a token in bytes; its text is ASCII. */
export const MEAN_BYTES: number = WORDS.reduce((sum, word) => sum + word.length, 0) / WORDS.length

function oddly(words: string[]): string[] {
  return words.length % 2 === 0 ? words.slice(1) : words
}
