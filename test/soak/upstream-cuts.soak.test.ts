/** All of these experiments, with their full counts. */
import '../e2e/upstream-cuts.test.ts'
