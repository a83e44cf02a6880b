/** A real server that is killed, with its full counts. */
import '../e2e/stored-runs.test.ts'
