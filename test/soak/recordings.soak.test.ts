/** Recordings of random runs, with their full counts. */
import '../server/recordings/replay.test.ts'
