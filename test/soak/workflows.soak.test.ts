/** All of these experiments, with their full counts. */
import '../simulation/workflows.test.ts'
