// The limits that the client sets itself; the server states the others in WELCOME. They stand in a file of their own
// because a bundler puts imported numbers where they are used.

/** The client gives up after this many tries without one WELCOME. */
export const MAX_FIRST_TRIES = 8

/** Streams that may wait while `maxStreams` are open. A further one ends with `too_many_streams`. */
export const MAX_QUEUED = 1_000

/** Milliseconds. A timer that is later than this slept together with the machine. */
export const LATE_MS = 1_000

/** Bytes by which a frame may grow after it was checked: its number, its key, its credit and its rate change. */
export const SPARE = 64

/** Values by which it may grow. */
export const SPARE_VALUES = 8

/** The most levels of maps and arrays that are packed. Data that refers to itself has more. */
export const MAX_DEPTH = 1_000

/** Characters (UTF-16 code units) of a cancel's note. In UTF-8 they have at most 255 bytes, and 256 may travel. */
export const MAX_NOTE = 85

/**
 * Characters (UTF-16 code units) of a target's id. Nothing has a longer one, and a server does not name it in answers.
 */
export const MAX_TARGET_ID = 1_024

/** The most runs of a list. A server lists no more. */
export const MAX_LISTED = 10_000

/** A watch of the list that was refused waits as long as this try to connect, the first being 0: up to 8 s. */
export const REFUSED_WATCH = 3

/** The most items, counted from the last, whose text a rewind can take back. At least half as many always can. */
export const MAX_MARKS = 2_000

/** The most characters (UTF-16 code units) of an answer that are kept before the application asks for its result. */
export const MAX_UNASKED = 1_048_576
