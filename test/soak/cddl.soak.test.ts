/** The frames that the schema generates, with their full counts. */
import '../protocol/cddl.test.ts'
