/** All of these experiments, with their full counts. */
import '../server/files/uploads.test.ts'
