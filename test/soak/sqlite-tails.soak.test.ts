/** This experiment with its full count, in a process of its own: another one measures memory. */
import '../server/stores/sqlite-tails.test.ts'
