/** All of these experiments, with their full counts. */
import '../hostile/flood-attacks.test.ts'
