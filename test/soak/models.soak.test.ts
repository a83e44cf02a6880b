/** All of these experiments, with their full counts. */
import '../e2e/models.test.ts'
