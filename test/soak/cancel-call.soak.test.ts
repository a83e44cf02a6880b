/** All of these experiments, with their full counts. */
import '../server/tools/cancel-call.test.ts'
