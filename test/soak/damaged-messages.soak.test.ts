/** All of these experiments, with their full counts. */
import '../hostile/damaged-messages.test.ts'
